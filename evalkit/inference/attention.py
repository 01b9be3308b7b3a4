"""Our attention behind transformers' interface: of prefill and decode batches in the language model, and of
images and windows in the vision tower.

A call of a model selects it by name in the configs of its layers; outside of such calls nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from itertools import accumulate, pairwise
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention

from evalkit.rope.hf.install import attention_layers

_TEXT = "evalkit_varlen"
# Vision towers pass all sequences at once to an implementation with "flash" in its name, else one by one.
_VISION = "evalkit_flash_sequences"


class AttentionFn(Protocol):
    """Attention of one layer over a batch of sequences without padding, one after the other in one dimension:
    ``query [H, T, D]``, ``key`` and ``value [KV, T, D]``; the result is shaped like ``query``.
    """

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor: ...


class _AttentionHolder:
    """The attention function of one call, and the number of each layer by its index. Not a dataclass:
    torch.compile traces into those, and would compile again for each function.
    """

    def __init__(self, attend: Any, numbers: Mapping[int, int]) -> None:
        self.attend = attend
        self.numbers = numbers


@contextmanager
def text_attention(language_model: Any, attend: AttentionFn) -> Iterator[Mapping[str, Any]]:
    """Within, a language model that is called with the yielded keyword arguments attends by ``attend``, which
    counts layers that attend only.
    """
    layers = attention_layers(language_model)
    configs = [language_model.config, *(layer.config for layer in layers)]
    numbers = {layer.layer_idx: number for number, layer in enumerate(layers)}
    with _using_attention(configs, _TEXT):
        yield {"evalkit_attention": _AttentionHolder(attend, numbers)}


@contextmanager
def vision_attention(tower: Any) -> Iterator[Mapping[str, Any]]:
    """Within, a vision tower of transformers that knows ``cu_seqlens`` and is called with the yielded keyword
    arguments attends within all images or windows by one :class:`VisionVarlenAttention`.
    """
    configs = [part.config for part in tower.modules() if hasattr(part, "config")]
    with _using_attention(configs, _VISION):
        yield {"evalkit_attention": _AttentionHolder(VisionVarlenAttention().attend, {})}


@contextmanager
def _using_attention(configs: Iterable[Any], name: str) -> Iterator[None]:
    from transformers import AttentionInterface

    AttentionInterface.register(name, _UNCOMPILED[name])
    distinct = {id(config): config for config in configs}.values()
    before = [config._attn_implementation_internal for config in distinct]
    try:
        for config in distinct:
            config._attn_implementation_internal = name
        yield
    finally:
        for config, own in zip(distinct, before, strict=True):
            config._attn_implementation_internal = own


def _text_attention_forward(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    evalkit_attention: _AttentionHolder,
    **_: Any,
) -> tuple[Tensor, None]:
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer = evalkit_attention.numbers[module.layer_idx]
    found = evalkit_attention.attend(layer, query[0], key[0], value[0], scale)
    return _tokens_first(found), None


def _vision_attention_forward(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    evalkit_attention: _AttentionHolder,
    **_: Any,
) -> tuple[Tensor, None]:
    found = evalkit_attention.attend(
        query[0], key[0], value[0], cu_seqlens=cu_seq_lens_q, max_seqlen=max_length_q, scaling=scaling
    )
    return _tokens_first(found), None


# Graph breaks for torch.compile. Compiled code is bound to these objects, so there is one of each.
_UNCOMPILED: Mapping[str, Any] = {
    _TEXT: torch.compiler.disable(_text_attention_forward),  # type: ignore[no-untyped-call]
    _VISION: torch.compiler.disable(_vision_attention_forward),  # type: ignore[no-untyped-call]
}


def _tokens_first(found: Tensor) -> Tensor:
    """``[1, T, H, D]`` of ``[H, T, D]``, contiguous: compiled code is bound to the strides."""
    return found.transpose(0, 1).contiguous()[None]


@dataclass
class VisionVarlenAttention:
    """Attention within the sequences (images, frames or windows) of one call of a vision tower.

    Without FlashAttention, sequences of equal length share a call. Their token indices ``[n, length]`` by
    length are computed for the first layer and kept in ``indices``, by the id of ``cu_seqlens``.
    """

    indices: dict[int, tuple[Tensor, Mapping[int, Tensor]]] = field(default_factory=dict)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        cu_seqlens: Tensor,
        max_seqlen: int,
        scaling: float | None,
    ) -> Tensor:
        """``query``, ``key``, ``value`` and the result are ``[H, T, D]``."""
        if flash_supports(query):
            return varlen_attention(
                query,
                key,
                value,
                cu_seqlens_q=cu_seqlens,
                cu_seqlens_k=cu_seqlens,
                max_seqlen_q=max_seqlen,
                max_seqlen_k=max_seqlen,
                scaling=scaling,
                causal=False,
            )
        by_length = self._indices_by_length(cu_seqlens)
        if len(by_length) == 1:  # views will do
            shape = (query.shape[0], -1, max_seqlen, query.shape[2])
            q, k, v = (each.view(shape).transpose(0, 1) for each in (query, key, value))
            whole = scaled_dot_product_attention(q, k, v, scale=scaling)
            return whole.transpose(1, 2).flatten(0, 1).transpose(0, 1)
        found = torch.empty_like(query)
        for index in by_length.values():
            q, k, v = (each[:, index].transpose(0, 1) for each in (query, key, value))
            found[:, index] = scaled_dot_product_attention(q, k, v, scale=scaling).transpose(0, 1)
        return found

    def _indices_by_length(self, cu_seqlens: Tensor) -> Mapping[int, Tensor]:
        if id(cu_seqlens) not in self.indices:
            starts: dict[int, list[int]] = {}
            for start, end in pairwise(cu_seqlens.tolist()):
                starts.setdefault(end - start, []).append(start)
            by_length = {
                length: torch.tensor(each, device=cu_seqlens.device)[:, None]
                + torch.arange(length, device=cu_seqlens.device)
                for length, each in starts.items()
            }
            self.indices[id(cu_seqlens)] = cu_seqlens, by_length  # kept alive, so that its id stays its own
        return self.indices[id(cu_seqlens)][1]


def flash_supports(query: Tensor) -> bool:
    """Whether PyTorch's varlen FlashAttention takes it: 16 bits, compute capability 8.0 or later, a head size
    that is a multiple of 8 and at most 256.
    """
    if not query.is_cuda or query.dtype not in (torch.bfloat16, torch.float16):
        return False
    return query.shape[-1] % 8 == 0 and query.shape[-1] <= 256 and _capability(query.device) >= (8, 0)


@cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device) if torch.cuda.is_available() else (0, 0)


def varlen_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    scaling: float | None,
    causal: bool,
) -> Tensor:
    """Attention of sequences of different lengths in one call, as flash-attn's ``flash_attn_varlen_func``:
    ``query [H, T, D]``, ``key`` and ``value [KV, K, D]``, cumulative lengths int32 ``[n + 1]``. ``causal`` is
    aligned to the end: the last query of a sequence sees all its keys, the one before all but one.
    """
    attend: Any = varlen_attn  # its arguments vary with PyTorch's version
    found: Tensor = attend(
        *(each.transpose(0, 1) for each in (query, key, value)),
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        scale=scaling,
        window_size=(-1, 0 if causal else -1),
        **_grouped_queries(),
    )
    return found.transpose(0, 1)


@cache
def _grouped_queries() -> Mapping[str, bool]:
    """PyTorch 2.11 takes fewer key-value heads than query heads as it is; later versions need an argument."""
    return {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}


def cu_seqlens_of(lengths: Sequence[int]) -> Tensor:
    """Cumulative lengths of sequences, as :func:`varlen_attention` takes them.

    >>> cu_seqlens_of([2, 3]).tolist()
    [0, 2, 5]
    """
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
