"""Decode steps in calls of one shape, whatever else is being decoded.

In 16 bits a matrix product rounds differently for another number of rows, and so does attention for another
length of the cache. Here every call of the model has ``FIXED_SEQUENCES`` tokens, and every sequence attends
by itself to its own slots: what it generates depends on its prompt alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from evalkit.inference.kv_cache import KVCache

FIXED_SEQUENCES = 16
"""Tokens of a call: enough for a GPU to read the weights once for many sequences."""


@dataclass(frozen=True)
class CacheSlot:
    """Where the next key and value of a sequence go: its cache, its group (of one), its slot."""

    kv_cache: KVCache
    group: int
    slot: int


@dataclass(frozen=True)
class SingleDecodeAttention:
    """Attention of one decode step, a sequence at a time; tokens beyond ``slots`` are padding."""

    slots: Sequence[CacheSlot]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See :class:`evalkit.inference.attention.AttentionFn`."""
        found = query.new_zeros(query.shape)
        for number, at in enumerate(self.slots):
            keys, values = at.kv_cache.keys[layer][at.group], at.kv_cache.values[layer][at.group]
            keys[:, at.slot], values[:, at.slot] = key[:, number], value[:, number]
            # The query heads of a key-value head become tokens of one head.
            own = query[:, number].reshape(1, len(keys), -1, query.shape[-1])
            keys, values = keys[None, :, : at.slot + 1], values[None, :, : at.slot + 1]
            found[:, number] = scaled_dot_product_attention(own, keys, values, scale=scaling).flatten(0, 2)
        return found


def next_cache_slots(kv_caches: Sequence[KVCache]) -> list[CacheSlot]:
    """Allocate the next slots of all running sequences, in their order; groups are of one sequence each."""
    slots = []
    for kv_cache in kv_caches:
        groups, _, places = kv_cache.allocate_slots()
        slots += [CacheSlot(kv_cache, *pair) for pair in zip(groups.tolist(), places.tolist(), strict=True)]
    return slots


def fixed_batches(count: int) -> Iterator[slice]:
    """``count`` sequences in batches of at most ``FIXED_SEQUENCES``."""
    return (slice(first, first + FIXED_SEQUENCES) for first in range(0, count, FIXED_SEQUENCES))


def padded(values: Tensor) -> Tensor:
    """Values of at most ``FIXED_SEQUENCES`` tokens, in the last dimension, with zeros up to that many."""
    return pad(values, (0, FIXED_SEQUENCES - values.shape[-1]))
