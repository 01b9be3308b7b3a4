"""Published checkpoints whose RoPE variant is in their name, and not in their config."""

from __future__ import annotations

import re
from pathlib import Path

_VIDEOROPE = {
    "vanilla_rope": "vanilla",
    "tad_rope": "tad-rope",
    "m_rope": "mrope",
    "videorope": "videorope",
}
# github.com/Wiselnn570/VideoRoPE: four trainings of Qwen2-VL that differ in RoPE alone. Its evaluation takes
# the variant from the command line (`--which_rope`); its scripts write `16card_` into some names.
_NAME = re.compile(
    rf"Qwen2-VL-({'|'.join(_VIDEOROPE)})-128frames-(?:16card_)?8k-context-330k-llava-video", re.IGNORECASE
)


def published_rope(name: str, folder: Path) -> str | None:
    """The variant that a checkpoint's published name stands for: that of its hub id, its folder, or the
    repository in the hub's cache.

    >>> published_rope("Wiselnn/Qwen2-VL-tad_rope-128frames-8k-context-330k-llava-video", Path("/a"))
    'tad-rope'
    >>> published_rope("me/Qwen2-VL-tad_rope", Path("/models/my-model")) is None
    True
    """
    real = folder.resolve()
    cached = real.parents[1].name.rpartition("--")[2] if real.parent.name == "snapshots" else ""
    for each in (name.partition("@")[0].rstrip("/").rpartition("/")[2], folder.name, real.name, cached):
        found = _NAME.fullmatch(each)
        if found:
            return _VIDEOROPE[found[1].lower()]
    return None


def published_note(rope: str) -> str:
    """What to say where a variant was taken from a checkpoint's name."""
    return f"its config names no RoPE variant; by the name of the checkpoint it is `{rope}` (or use `--rope`)"
