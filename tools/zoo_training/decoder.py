"""The language model of the training as one function of its weights.

The same computation as transformers' Qwen2 decoder (a test compares them), laid out for a processor: the
projections of a layer in one product each, products in bfloat16 where the processor has instructions for
them, and all of it compiled for the two shapes that a training has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name everybody uses)

Weights = tuple[Tensor, ...]

_MASKED = -1e9


def decoder_weights(named: Mapping[str, Tensor], layers: int) -> list[Weights]:
    """The weights of each layer, fused: norm, q, k and v with their bias, output, norm, gate and up, down.

    ``named``: parameters of transformers' language model, by their names in it.
    """

    def fused(layer: int, *names: str) -> Tensor:
        found = [named[f"layers.{layer}.{name}"] for name in names]
        return found[0] if len(found) == 1 else torch.cat(found)

    projections = [f"self_attn.{each}_proj" for each in "qkv"]
    return [
        (
            fused(layer, "input_layernorm.weight"),
            fused(layer, *(f"{each}.weight" for each in projections)),
            fused(layer, *(f"{each}.bias" for each in projections)),
            fused(layer, "self_attn.o_proj.weight"),
            fused(layer, "post_attention_layernorm.weight"),
            fused(layer, "mlp.gate_proj.weight", "mlp.up_proj.weight"),
            fused(layer, "mlp.down_proj.weight"),
        )
        for layer in range(layers)
    ]


def decode(
    hidden: Tensor,
    mask: Tensor,
    rotation: list[tuple[Tensor, Tensor]],
    text: Any,
    dtype: torch.dtype,
    compiled: bool,
) -> Tensor:
    """Hidden states after the last norm, ``[B, L, hidden]``.

    Args:
        hidden: embeddings ``[B, L, hidden]``.
        mask: bool ``[B, 1, L, L]``, True where a token may look.
        rotation: cos and sin of each layer, ``[B, 1 or heads, L, head_dim]``.
        text: transformers' language model.
        dtype: of the products.
        compiled: by ``torch.compile``, once for every shape.
    """
    run = _compiled() if compiled else layers_of_decoder
    weights = decoder_weights(dict(text.named_parameters()), len(text.layers))
    settings = (text.config.num_attention_heads, text.config.rms_norm_eps, dtype)
    return run(hidden, mask_bias(mask), rotation, weights, text.norm.weight, *settings)


def mask_bias(mask: Tensor) -> Tensor:
    """What is added to the scores: float32, 0 where a token may look."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, _MASKED)


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(layers_of_decoder, dynamic=False)


def layers_of_decoder(
    hidden: Tensor,
    bias: Tensor,
    rotation: list[tuple[Tensor, Tensor]],
    layers: list[Weights],
    norm: Tensor,
    heads: int,
    epsilon: float,
    dtype: torch.dtype,
) -> Tensor:
    """:func:`decode` of plain tensors, so that it can be compiled, and mapped over models."""
    batch, length, width = hidden.shape

    def project(values: Tensor, weight: Tensor, offset: Tensor | None = None) -> Tensor:
        return F.linear(values.to(dtype), weight.to(dtype), None if offset is None else offset.to(dtype))

    for (cos, sin), (norm_1, qkv, qkv_bias, out, norm_2, gate_up, down) in zip(rotation, layers, strict=True):
        seen = project(_rms_norm(hidden, norm_1, epsilon), qkv, qkv_bias)
        query, key, value = seen.view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        scores = (_rotated(query, cos, sin).to(dtype) @ _rotated(key, cos, sin).to(dtype).mT).float()
        shares = torch.softmax(scores * (width // heads) ** -0.5 + bias, -1).to(dtype)
        hidden = hidden + project((shares @ value).transpose(1, 2).reshape(hidden.shape), out).float()
        gate, up = project(_rms_norm(hidden, norm_2, epsilon), gate_up).float().chunk(2, -1)
        hidden = hidden + project(F.silu(gate) * up, down).float()
    return _rms_norm(hidden, norm, epsilon)


def _rms_norm(hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    return hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + epsilon) * weight


def _rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = states.float().chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
