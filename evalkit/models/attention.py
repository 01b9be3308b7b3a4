"""Attention of our own behind transformers' interface: of packed prompts and growing rows in the language
model, of windows and images in the vision tower.

It is switched on for single calls, by name in a configuration; outside of them a model is as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_TEXT = "evalkit_packed"
# Vision towers hand over all their sequences at once to what is called flash, else one by one.
_VISION = "evalkit_flash_sequences"


class Attend(Protocol):
    """Attention of one layer over tokens of many sequences, one after another: ``query [H, T, D]``, ``key``
    and ``value`` ``[KV, T, D]``; the result is like ``query``.
    """

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor: ...


@contextmanager
def text_attention(language_model: Any) -> Iterator[None]:
    """Calls of a language model inside must give ``evalkit_attend``, an :class:`Attend`."""
    configs = [language_model.config, *(layer.self_attn.config for layer in language_model.layers)]
    with _switched(configs, _TEXT):
        yield


@contextmanager
def vision_attention(tower: Any) -> Iterator[None]:
    """Calls of a Qwen vision tower inside attend to all images and windows of one length at once."""
    configs = [tower.config, *(block.attn.config for block in tower.blocks)]
    with _switched(configs, _VISION):
        yield


@contextmanager
def _switched(configs: Iterable[Any], name: str) -> Iterator[None]:
    from transformers import AttentionInterface

    AttentionInterface.register(_TEXT, _attend_packed)
    AttentionInterface.register(_VISION, _Sequences())
    different = {id(config): config for config in configs}.values()
    before = [config._attn_implementation_internal for config in different]
    try:
        for config in different:
            config._attn_implementation_internal = name
        yield
    finally:
        for config, own in zip(different, before, strict=True):
            config._attn_implementation_internal = own


def _attend_packed(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    evalkit_attend: Attend,
    **_: Any,
) -> tuple[Tensor, None]:
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    found = evalkit_attend(module.layer_idx, query[0], key[0], value[0], scale)
    return found.transpose(0, 1)[None], None


@dataclass
class _Sequences:
    """Attention within sequences, told by where they end: one call for all of one length.

    Ends are read from the device once, not in every layer, where that would wait for the layer before.
    """

    known: dict[int, tuple[Tensor, dict[int, Tensor]]] = field(default_factory=dict)

    def __call__(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        *,
        cu_seq_lens_q: Tensor,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """``query``, ``key`` and ``value`` ``[1, H, T, D]``."""
        places = self._places(cu_seq_lens_q)
        if len(places) == 1:  # no need to gather them
            (length,) = places
            shape = (query.shape[1], -1, length, query.shape[3])
            q, k, v = (each[0].view(shape).transpose(0, 1) for each in (query, key, value))
            whole = scaled_dot_product_attention(q, k, v, scale=scaling)
            return whole.transpose(1, 2).flatten(0, 1)[None], None
        found = torch.empty_like(query[0])
        for index in places.values():
            q, k, v = (each[0][:, index].transpose(0, 1) for each in (query, key, value))
            found[:, index] = scaled_dot_product_attention(q, k, v, scale=scaling).transpose(0, 1)
        return found.transpose(0, 1)[None], None

    def _places(self, ends: Tensor) -> dict[int, Tensor]:
        """Tokens ``[n, length]`` of the sequences of each length."""
        if id(ends) not in self.known:
            starts: dict[int, list[int]] = {}
            for start, end in pairwise(ends.tolist()):
                starts.setdefault(end - start, []).append(start)
            places = {
                length: torch.tensor(each, device=ends.device)[:, None]
                + torch.arange(length, device=ends.device)
                for length, each in starts.items()
            }
            self.known[id(ends)] = ends, places  # held, so that its id stays its own
        return self.known[id(ends)][1]
