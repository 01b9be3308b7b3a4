"""What lies between two calls of attention, compiled."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from evalkit.errors import EnvironmentProblem
from evalkit.models.attention import text_attention, vision_attention

ROWS = (2, 3, 1)
"""One row is compiled apart, as PyTorch does; the first two show that the others' number varies."""

GRIDS = ((1, 6, 10), (1, 6, 14))


def compile_parts(model: Any) -> float:
    """Compile the layers of a transformers model's language model, which has a variant installed, and of a
    Qwen vision tower, for any number of tokens: all that lies between two calls of attention. Returns the
    seconds that took.

    Attention stays as it is: its shapes follow from the questions. In bfloat16 a compiled part rounds less
    often than PyTorch's own kernels.

    Raises:
        EnvironmentProblem: there is no compiler, or it failed.
    """
    began = time.perf_counter()
    try:
        with torch.inference_mode():
            _compile_text(model)
            _compile_tower(model)
    except Exception as error:  # noqa: BLE001 - compilers fail in many ways, and none is the model's fault
        raise EnvironmentProblem(
            "the model can't be compiled",
            f"{type(error).__name__}: {str(error).strip().splitlines()[0]}",
            "install a C++ compiler (and Triton for a GPU), or leave `--compile` out",
        ) from None
    return time.perf_counter() - began


def _compile_text(model: Any) -> None:
    language_model = model.model.language_model
    for layer in language_model.layers:
        layer.compile(dynamic=True)
    width, axes = model.config.get_text_config().hidden_size, len(language_model.rotary_emb.text_step)
    for rows in ROWS:
        tokens = torch.zeros(1, rows, width, dtype=model.dtype, device=model.device)
        positions = torch.zeros(1 + axes, 1, rows, device=model.device)
        with text_attention(language_model, _nothing) as handed:
            language_model(
                inputs_embeds=tokens, position_ids=positions, attention_mask=None, use_cache=False, **handed
            )


def _nothing(layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    return torch.zeros_like(query)


def _compile_tower(model: Any) -> None:
    tower = getattr(model.model, "visual", None)
    if tower is None:
        return
    for block in tower.blocks:
        block.compile(dynamic=True)
    config = model.config.vision_config
    width = config.in_channels * config.temporal_patch_size * config.patch_size**2
    for grid in GRIDS:
        size = torch.tensor([grid])
        patches = torch.zeros(int(size.prod()), width, dtype=tower.dtype, device=model.device)
        with vision_attention(tower) as handed:
            tower(patches, grid_thw=size.to(model.device), **handed)
