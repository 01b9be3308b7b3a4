"""What lies between two calls of attention, compiled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from evalkit.errors import EnvironmentProblem

TEXT_PARTS = ("input_layernorm", "post_attention_layernorm", "mlp")
TOWER_PARTS = ("norm1", "norm2", "mlp")
ROWS = (2, 3, 1)
"""One row is compiled apart, as PyTorch does; the first two show that the others' number varies."""


def compile_parts(model: Any) -> float:
    """Compile norms and feed-forward parts of a transformers model's layers, of the language model and of a
    Qwen vision tower, for any number of tokens; returns the seconds that took.

    Attention stays as it is: its shapes follow from the questions. In bfloat16 a compiled part rounds less
    often than PyTorch's own kernels.

    Raises:
        EnvironmentProblem: there is no compiler, or it failed.
    """
    began = time.perf_counter()
    try:
        with torch.inference_mode():
            for part, width, batched in _parts(model):
                part.compile(dynamic=True)
                for rows in ROWS:
                    shape = (1, rows, width) if batched else (rows, width)
                    part(torch.zeros(shape, dtype=model.dtype, device=next(part.parameters()).device))
    except Exception as error:  # noqa: BLE001 - compilers fail in many ways, and none is the model's fault
        raise EnvironmentProblem(
            "the model can't be compiled",
            f"{type(error).__name__}: {str(error).strip().splitlines()[0]}",
            "install a C++ compiler (and Triton for a GPU), or leave `--compile` out",
        ) from None
    return time.perf_counter() - began


def _parts(model: Any) -> Iterator[tuple[nn.Module, int, bool]]:
    """Parts with the width of their input, and whether that has a batch dimension."""
    for layer in model.model.language_model.layers:
        for name in TEXT_PARTS:
            yield getattr(layer, name), model.config.get_text_config().hidden_size, True
    config = model.config.vision_config
    for block in getattr(getattr(model.model, "visual", None), "blocks", ()):
        for name in TOWER_PARTS:
            yield getattr(block, name), getattr(config, "embed_dim", None) or config.hidden_size, False
