"""What a choice of variant needs beside runs: the heads of the checkpoint, and stored diagnoses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evalkit.core.errors import EvalkitError, UsageError
from evalkit.diagnose.spectrum import Head
from evalkit.models.checkpoints.files import read_config
from evalkit.models.checkpoints.source import ZOO, find
from evalkit.report.comparison import Arm


def head_of_arms(arms: Iterable[Arm]) -> Head | None:
    """The heads of the first arm whose checkpoint is on this machine, as it is now; None if none is."""
    for arm in arms:
        if Path(arm.model).expanduser().is_dir() or arm.model in ZOO:
            try:
                config = read_config(find(arm.model, arm.rope).folder)
            except EvalkitError:
                continue
            if head := head_of_config(config):
                return head
    return None


def head_of_config(config: Mapping[str, Any]) -> Head | None:
    """Of a checkpoint's ``config.json``, that of its language model; None if it doesn't say."""
    for own in (config.get("text_config"), config.get("llm_config"), config):
        if not isinstance(own, Mapping) or "num_attention_heads" not in own:
            continue
        heads = own["num_attention_heads"]
        size = own.get("head_dim") or own.get("hidden_size", 0) // heads
        rope = own.get("rope_parameters") or own.get("rope_scaling") or {}
        base = own.get("rope_theta") or rope.get("rope_theta")
        length = rope.get("original_max_position_embeddings") or own.get("max_position_embeddings")
        kv_heads = own.get("num_key_value_heads") or heads
        partial = rope.get("partial_rotary_factor") or own.get("partial_rotary_factor") or 1
        numbers = [
            float(each) for each in (size, kv_heads, base, length, partial) if isinstance(each, int | float)
        ]
        if len(numbers) == 5 and min(numbers) > 0:
            return Head(int(numbers[0] * numbers[4]), int(numbers[1]), numbers[2], int(numbers[3]))
    return None


def read_diagnosis(path: Path) -> Mapping[str, Any]:
    """A file that ``evalkit diagnose ... --json`` or ``-o`` wrote.

    Raises:
        UsageError: it is none.
    """
    fix = "make one by `evalkit diagnose ropes|generation|attention ... -o FILE.json`"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"diagnosis `{path}`", f"it can't be read: {error}", fix) from None
    kinds = {"ropes": "variants", "generation": "cells", "attention": "figures"}
    if isinstance(found, Mapping):
        kind = str(found.get("kind") or ("attention" if {"figures", "systems"} <= set(found) else ""))
        if isinstance(found.get(kinds.get(kind, "")), list):
            return found
    raise UsageError(f"diagnosis `{path}`", "it is no result of `evalkit diagnose`", fix)
