"""Attention of our own behind transformers' interface: of packed prompts and growing rows in the language
model, of windows and images in the vision tower.

It is switched on for single calls, by name in a configuration; outside of them a model is as it was.
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

_TEXT = "evalkit_varlen"
# Vision towers hand over all their sequences at once to what is called flash, else one by one.
_VISION = "evalkit_flash_sequences"


class AttentionFn(Protocol):
    """Attention of one layer over tokens of many sequences, one after another: ``query [H, T, D]``, ``key``
    and ``value`` ``[KV, T, D]``; the result is like ``query``.
    """

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor: ...


class _AttentionHolder:
    """What a call of a model hands to its attention. No dataclass: into those torch.compile looks, and would
    compile anew for each way to attend.
    """

    def __init__(self, attend: Any) -> None:
        self.attend = attend


@contextmanager
def text_attention(language_model: Any, attend: AttentionFn) -> Iterator[Mapping[str, Any]]:
    """A call of a language model inside, with these keyword arguments, attends so."""
    configs = [language_model.config, *(layer.self_attn.config for layer in language_model.layers)]
    with _using_attention(configs, _TEXT):
        yield {"evalkit_attention": _AttentionHolder(attend)}


@contextmanager
def vision_attention(tower: Any) -> Iterator[Mapping[str, Any]]:
    """A call of a Qwen vision tower inside, with these keyword arguments, attends to all its images and
    windows in a few calls.
    """
    configs = [tower.config, *(block.attn.config for block in tower.blocks)]
    with _using_attention(configs, _VISION):
        yield {"evalkit_attention": _AttentionHolder(VisionVarlenAttention().attend)}


@contextmanager
def _using_attention(configs: Iterable[Any], name: str) -> Iterator[None]:
    from transformers import AttentionInterface

    AttentionInterface.register(name, _UNCOMPILED[name])
    different = {id(config): config for config in configs}.values()
    before = [config._attn_implementation_internal for config in different]
    try:
        for config in different:
            config._attn_implementation_internal = name
        yield
    finally:
        for config, own in zip(different, before, strict=True):
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
    found = evalkit_attention.attend(module.layer_idx, query[0], key[0], value[0], scale)
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
    found = evalkit_attention.attend(query[0], key[0], value[0], cu_seq_lens_q, max_length_q, scaling)
    return _tokens_first(found), None


# Compiled code stops before these; one object for each, which it is bound to.
_UNCOMPILED: Mapping[str, Any] = {
    _TEXT: torch.compiler.disable(_text_attention_forward),  # type: ignore[no-untyped-call]
    _VISION: torch.compiler.disable(_vision_attention_forward),  # type: ignore[no-untyped-call]
}


def _tokens_first(found: Tensor) -> Tensor:
    """``[1, T, H, D]`` of ``[H, T, D]``, in one order in memory, to which compiled code is bound."""
    return found.transpose(0, 1).contiguous()[None]


@dataclass
class VisionVarlenAttention:
    """Attention within sequences, told by where they end.

    Where they lie is found out once, not in every layer: ``known`` are tokens ``[n, length]`` of those of
    each length.
    """

    known: dict[int, tuple[Tensor, Mapping[int, Tensor]]] = field(default_factory=dict)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        scaling: float | None,
    ) -> Tensor:
        """``query``, ``key``, ``value`` and the result ``[H, T, D]``: in one call on a GPU that can do that,
        else in one for all of one length.
        """
        if flash_supports(query):
            return varlen_attention(
                query, key, value, (cu_seqlens, cu_seqlens), (max_seqlen, max_seqlen), scaling, causal=False
            )
        places = self._places(cu_seqlens)
        if len(places) == 1:  # no need to gather them
            shape = (query.shape[0], -1, max_seqlen, query.shape[2])
            q, k, v = (each.view(shape).transpose(0, 1) for each in (query, key, value))
            whole = scaled_dot_product_attention(q, k, v, scale=scaling)
            return whole.transpose(1, 2).flatten(0, 1).transpose(0, 1)
        found = torch.empty_like(query)
        for index in places.values():
            q, k, v = (each[:, index].transpose(0, 1) for each in (query, key, value))
            found[:, index] = scaled_dot_product_attention(q, k, v, scale=scaling).transpose(0, 1)
        return found

    def _places(self, cu_seqlens: Tensor) -> Mapping[int, Tensor]:
        if id(cu_seqlens) not in self.known:
            starts: dict[int, list[int]] = {}
            for start, end in pairwise(cu_seqlens.tolist()):
                starts.setdefault(end - start, []).append(start)
            places = {
                length: torch.tensor(each, device=cu_seqlens.device)[:, None]
                + torch.arange(length, device=cu_seqlens.device)
                for length, each in starts.items()
            }
            self.known[id(cu_seqlens)] = cu_seqlens, places  # held, so that its id stays its own
        return self.known[id(cu_seqlens)][1]


def flash_supports(query: Tensor) -> bool:
    """Whether FlashAttention takes sequences of different lengths in one call: 16 bits, on a GPU of 2020
    (compute capability 8.0) or later, heads of at most 256.
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
    cu_seqlens: tuple[Tensor, Tensor],
    max_seqlen: tuple[int, int],
    scaling: float | None,
    *,
    causal: bool,
) -> Tensor:
    """Attention of sequences of different lengths in one call: ``query [H, T, D]``, ``key`` and ``value``
    ``[KV, K, D]``, where the sequences of both end (int32 ``[n + 1]``, beginning with 0), and the max_seqlen.
    ``causal``: the last query of a sequence sees all its keys, the one before all but one.
    """
    attend: Any = varlen_attn  # its arguments vary with PyTorch's version
    found: Tensor = attend(
        *(each.transpose(0, 1) for each in (query, key, value)),
        *cu_seqlens,
        *max_seqlen,
        scale=scaling,
        window_size=(-1, 0 if causal else -1),
        **_grouped_queries(),
    )
    return found.transpose(0, 1)


@cache
def _grouped_queries() -> Mapping[str, bool]:
    """PyTorch 2.11 takes fewer heads of keys than of queries unasked; later ones want to be asked."""
    return {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}


def cu_seqlens_of(lengths: Sequence[int]) -> Tensor:
    """Where sequences of these lengths end, as :func:`varlen_attention` takes it.

    >>> cu_seqlens_of([2, 3]).tolist()
    [0, 2, 5]
    """
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
