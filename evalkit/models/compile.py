"""What lies between two calls of attention, compiled."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from evalkit.errors import EnvironmentProblem
from evalkit.models.attention import text_attention
from evalkit.models.qwen_vision import shown

ROWS = (2, 3)
GRIDS = ((1, 6, 10), (1, 6, 14))
"""Two of each show that numbers of tokens vary."""


def compile_parts(model: Any) -> float:
    """Compile the layers of a transformers model's language model, which has a variant installed, and of a
    Qwen vision tower, for any number of tokens: all that lies between two calls of attention. Returns the
    seconds that took.

    Attention stays as it is: its shapes follow from the questions, and so do steps of decoding (see
    :func:`uncompiled`). In bfloat16 a compiled part rounds less often than PyTorch's own kernels.

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


@contextmanager
def uncompiled(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within, modules that were compiled work as they did before: for few tokens, it takes longer to look up
    what was compiled than to do without (on an H200, 45 ms for a step of 28 layers instead of 24).
    """
    # PyTorch's own way (`torch.compiler.set_stance`) takes longer than a step of a small model.
    compiled = [(each, each._compiled_call_impl) for each in modules if each._compiled_call_impl is not None]
    try:
        for module, _ in compiled:
            module._compiled_call_impl = None
        yield
    finally:
        for module, own in compiled:
            module._compiled_call_impl = own


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
        shown(tower, torch.zeros(int(size.prod()), width, dtype=tower.dtype, device=model.device), size)
