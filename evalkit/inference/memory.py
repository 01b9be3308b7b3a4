"""How much memory there is, and how many tokens can be answered in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from evalkit.inference.base import MAX_PREFILL_TOKENS

MEMORY_FRACTION = 0.85
"""Share of the free memory that is counted on: allocators leave gaps."""

CACHE_OVERHEAD = 3
"""Memory of the cache for that of its tokens: places are rounded up to powers of two, and copied to grow."""

ACTIVATIONS = 8
"""Hidden states of a layer that are alive at a time, beside those of its feed-forward part."""

MIN_TOKEN_BUDGET = 4096


def token_budget(model: Any, models: int, feature_cache_bytes: int) -> int:
    """Tokens, those to come included, that fit into the free memory of a model's device as keys and values.

    Of what is free, room is left for a call of the vision tower, one of the language model, and
    ``feature_cache_bytes`` of features; ``models`` share the rest. Keys and values take ``2 * layers * KV heads *
    head size`` numbers a token.
    """
    config = model.config.get_text_config()
    width = torch.empty((), dtype=model.dtype).element_size()
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * config.num_hidden_layers * config.num_key_value_heads * head * width
    reading = MAX_PREFILL_TOKENS * (2 * config.intermediate_size + ACTIVATIONS * config.hidden_size) * width
    choosing = 1024 * config.vocab_size * 4
    tower = _activations_per_patch(model.config.vision_config) * max_patches_per_call(model.device) * width
    free = sum(map(free_bytes, devices_of(model))) * MEMORY_FRACTION
    left = int(free - reading - choosing - tower - feature_cache_bytes)
    return max(MIN_TOKEN_BUDGET, left // int(CACHE_OVERHEAD * token * models))


def max_patches_per_call(device: torch.device) -> int:
    """Patches in one call of a vision tower: many for a GPU, on a CPU what its caches hold."""
    return 4096 if device.type == "cpu" else 65_536


def devices_of(model: Any) -> list[torch.device]:
    """All devices that a model's weights are on, each once."""
    return list(dict.fromkeys(each.device for each in model.parameters()))


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had on a device; on a CPU, what the container leaves."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    import psutil

    return min(int(psutil.virtual_memory().available), *_left_by_container())


def _activations_per_patch(vision: Any) -> int:
    """Numbers that a patch takes in a layer of the tower."""
    hidden = int(getattr(vision, "embed_dim", None) or vision.hidden_size)
    inner = int(getattr(vision, "intermediate_size", None) or 4 * hidden)
    return 2 * inner + ACTIVATIONS * hidden


def _left_by_container() -> list[int]:
    """What control groups (version 2) leave of their limits, one for each that has a limit."""
    left = [2**62]
    try:
        path = Path("/proc/self/cgroup").read_text(encoding="utf-8").rpartition("::")[2].strip()
        folder = Path("/sys/fs/cgroup") / path.lstrip("/")
        for each in (folder, *folder.parents[: len(Path(path).parts)]):
            limit = (each / "memory.max").read_text(encoding="utf-8").strip()
            if limit != "max":
                left.append(int(limit) - int((each / "memory.current").read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no control groups, or none of this kind
        pass
    return left
