"""Whether devices answer, their free memory, and the token budget: how many keys and values fit into it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from evalkit.inference.base import MAX_PREFILL_TOKENS

MEMORY_FRACTION = 0.85
"""Share of the free memory that is counted on: allocators leave gaps."""

CACHE_OVERHEAD = 3
"""Memory of the KV cache over that of its tokens: slots are rounded up to powers of two, copied to grow."""

ACTIVATIONS = 8
"""Hidden states of a layer that are alive at a time, beside those of its MLP."""

MIN_TOKEN_BUDGET = 4096


def token_budget(model: Any, *, models: int, feature_cache_bytes: int, vision_width: tuple[int, int]) -> int:
    """Tokens whose keys and values fit into the free memory of a model's devices, generated ones included.

    Room is left for one call of the vision tower, one of the language model, and ``feature_cache_bytes`` of
    features; ``models`` share the rest. A token takes ``2 * layers * KV heads * head size`` numbers: layers
    without attention count as if they attended, which stands for their states.
    ``vision_width``: sizes of the vision tower's hidden states and of its MLPs.
    """
    config = model.config.get_text_config()
    number_bytes = torch.empty((), dtype=model.dtype).element_size()
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * config.num_hidden_layers * config.num_key_value_heads * head * number_bytes
    prefill = MAX_PREFILL_TOKENS * _layer_activations(config.hidden_size, _mlp_width(config))
    vision = max_patches_per_call(model.device) * _layer_activations(*vision_width)
    logits = 1024 * config.vocab_size * 4
    free = sum(map(free_bytes, devices_of(model))) * MEMORY_FRACTION
    left = int(free - (prefill + vision) * number_bytes - logits - feature_cache_bytes)
    return max(MIN_TOKEN_BUDGET, left // int(CACHE_OVERHEAD * token * models))


def max_patches_per_call(device: torch.device) -> int:
    """Patches in one call of a vision tower: many for a GPU, on a CPU what its caches hold."""
    return 4096 if device.type == "cpu" else 65_536


def devices_of(model: Any) -> list[torch.device]:
    """All devices that a model's weights are on, each once."""
    return list(dict.fromkeys(each.device for each in model.parameters()))


def device_problem(devices: Iterable[torch.device]) -> str | None:
    """What the first of the devices that can't be computed on any more says; None if all can.

    An illegal address, an uncorrectable error of its memory or a GPU that fell off the bus ends the CUDA
    context of the process: whatever is asked of it afterwards raises the same.
    """
    for device in devices:
        if device.type == "cpu":
            continue
        try:
            torch.ones(1, device=device).add(1).item()
        except torch.OutOfMemoryError:
            continue
        except RuntimeError as error:
            return f"{device}: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
    return None


def free_bytes(device: torch.device) -> int:
    """Memory that can still be allocated on a device; on a CPU, what the container leaves."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    import psutil

    return min(int(psutil.virtual_memory().available), *_left_by_container())


def _mlp_width(config: Any) -> int:
    """Size of the MLPs' hidden states for a token; of experts, of all that a token goes to."""
    dense = getattr(config, "intermediate_size", None)
    if dense is not None:
        return int(dense)
    shared = getattr(config, "shared_expert_intermediate_size", None) or 0
    return int(config.moe_intermediate_size * config.num_experts_per_tok + shared)


def _layer_activations(hidden: int, mlp: int) -> int:
    """Numbers that one token or patch takes while it passes a layer."""
    return 2 * mlp + ACTIVATIONS * hidden


def _left_by_container() -> list[int]:
    """Bytes left of the memory limit of each control group (version 2) of this process."""
    left = [2**62]
    try:
        path = Path("/proc/self/cgroup").read_text(encoding="utf-8").rpartition("::")[2].strip()
        folder = Path("/sys/fs/cgroup") / path.lstrip("/")
        for each in (folder, *folder.parents[: len(Path(path).parts)]):
            limit = (each / "memory.max").read_text(encoding="utf-8").strip()
            if limit != "max":
                left.append(int(limit) - int((each / "memory.current").read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no control groups, or none of this version
        pass
    return left
