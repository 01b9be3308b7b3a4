"""torch.compile for everything between two calls of attention."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from evalkit.core.errors import EnvironmentProblem
from evalkit.inference.attention import text_attention

WARMUP_LENGTHS = (2, 3)
"""Numbers of tokens to compile with: from two different ones the compiler learns that they vary."""


def compile_parts(model: Any, compile_tower: Callable[[Any], None] | None = None) -> float:
    """Compile the layers of a transformers model's language model, which has a variant installed, and of its
    vision tower if its family says how, for any number of tokens. Returns the seconds that took.

    Attention stays uncompiled, since its shapes follow from the prompts, and so do decode steps (see
    :func:`uncompiled`). In bfloat16 compiled code rounds less often than PyTorch's own kernels.

    Raises:
        EnvironmentProblem: there is no compiler, or it failed.
    """
    began = time.perf_counter()
    try:
        with torch.inference_mode():
            _compile_text(model)
            if compile_tower is not None:
                compile_tower(model)
    except Exception as error:  # noqa: BLE001 - compilers fail in many ways, and none is the model's fault
        raise EnvironmentProblem(
            "the model can't be compiled",
            f"{type(error).__name__}: {str(error).strip().splitlines()[0]}",
            "install a C++ compiler (and Triton for a GPU), or leave `--compile` out",
        ) from None
    return time.perf_counter() - began


@contextmanager
def uncompiled(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within, compiled modules run uncompiled: for few tokens, entering compiled code takes longer than it
    saves (on an H200, a step of 28 layers takes 45 ms instead of 24).
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
        if hasattr(layer, "self_attn"):  # others keep states, which the engine hands in and out
            layer.compile(dynamic=True)
    width, axes = model.config.get_text_config().hidden_size, len(language_model.rotary_emb.text_step)
    for length in WARMUP_LENGTHS:
        tokens = torch.zeros(1, length, width, dtype=model.dtype, device=model.device)
        positions = torch.zeros(1 + axes, 1, length, device=model.device)
        with text_attention(language_model, _no_attention) as attention_kwargs:
            language_model(
                inputs_embeds=tokens,
                position_ids=positions,
                attention_mask=None,
                use_cache=False,
                **attention_kwargs,
            )


def _no_attention(layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    return torch.zeros_like(query)
