"""Checkpoints in the form of their authors' own programs; transformers' form is another repository."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def author_format(folder: Path, config: Mapping[str, Any]) -> tuple[str, str] | None:
    """What such a checkpoint is, and what to use instead; None for all others."""
    family = str(config.get("model_type"))
    # A snapshot in the hub's cache is named by its commit, its repository two folders above.
    names = " ".join((str(config.get("_name_or_path")), str(folder.resolve())))
    if family == "internvl_chat":
        what = "in the original form of InternVL (`internvl_chat`), which needs Python code of its own"
        return what, f"use the `-hf` repository{_internvl(names)}"
    if family == "llava_qwen":
        what = "in the original form of LLaVA (`llava_qwen`), which transformers doesn't read"
        return what, f"use the `llava-hf` repository{_llava(names)}"
    return None


def _internvl(names: str) -> str:
    convert = "transformers' convert_internvl_weights_to_hf.py"
    found = re.search(r"InternVL3(_5|\.5)?-(\d+B(?:-A\d+B)?)", names)
    if found is None:
        return f" (`OpenGVLab/InternVL3-8B-hf` and its sisters), or convert it with {convert}"
    name = f"OpenGVLab/InternVL3_5-{found[2]}-HF" if found[1] else f"OpenGVLab/InternVL3-{found[2]}-hf"
    return f" `{name}`; if this was trained further, convert it with {convert}"


def _llava(names: str) -> str:
    convert = "transformers' convert_llava_onevision_weights_to_hf.py"
    found = re.search(r"llava-onevision-(qwen2-(?:0\.5|7|72)b-(?:ov-chat|ov|si))", names)
    if found is None:
        return f" (`llava-hf/llava-onevision-qwen2-7b-ov-hf` and its sisters), or convert it with {convert}"
    return (
        f" `llava-hf/llava-onevision-{found[1]}-hf`; if this was trained further, convert it with {convert}"
    )
