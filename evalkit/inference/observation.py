"""Reading a prompt and its answer in one call, while somebody looks at the attention of some of its queries.

The prompt is split as a prefill splits it, so that the queries and keys are those of a run; the probabilities
are computed from them for a few rows at a time, and never all together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from evalkit.core.types import Prepared
from evalkit.inference.base import PrefixGroup
from evalkit.inference.prefill import GroupSlices, PrefillBatch
from evalkit.inference.sequence import segments_of
from evalkit.rope.hf.install import Installed

MAX_PROBABILITIES = 1 << 18
"""Attention probabilities that are there at a time: 1 MB."""


class AttentionObserver(Protocol):
    """Is shown every layer's rotated queries ``[H, T, D]`` and keys ``[KV, T, D]``, before the softmax."""

    def __call__(self, layer: int, query: Tensor, key: Tensor, scaling: float) -> None: ...


@dataclass(frozen=True)
class ObservedAttention:
    """Attention of a batch that is only read: no layer's keys and values are kept."""

    batch: PrefillBatch
    observer: AttentionObserver

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See :class:`evalkit.inference.attention.AttentionFn`."""
        found = self.batch.attend(layer, query, key, value, scaling)
        self.batch.keys.clear()
        self.batch.values.clear()
        self.observer(layer, query, key, scaling)
        return found


def continued_batch_of(item: Prepared, answer: Sequence[int], installed: Installed) -> PrefillBatch:
    """A prompt with the tokens of its answer, at the positions at which they are generated."""
    placed = installed.position_batch([segments_of(item)], item.length)
    end = item.length + len(answer)
    index = torch.arange(item.length, end)[None]
    positions = torch.cat([placed.prompt, placed.after(index)], dim=2)
    ids = torch.cat([torch.from_numpy(item.input_ids), torch.tensor(answer, dtype=torch.long)])
    slices = GroupSlices(PrefixGroup((item,), item.prefix), slice(0, item.prefix), (slice(item.prefix, end),))
    return PrefillBatch([slices], ids, positions, [placed.next_position[:, 0]])


def row_blocks(rows: Tensor, keys: int, heads: int) -> Iterator[tuple[slice, Tensor]]:
    """Cut rows into blocks whose probabilities over so many keys and heads are ``MAX_PROBABILITIES`` at most;
    a single row may have more. Each with its place among the rows.
    """
    size = max(1, MAX_PROBABILITIES // (keys * heads))
    for begin in range(0, len(rows), size):
        part = slice(begin, begin + size)
        yield part, rows[part]


def attention_probabilities(query: Tensor, key: Tensor, kv_head: int, rows: Tensor, scaling: float) -> Tensor:
    """Causal attention of some rows ``[r]`` of a sequence, of the query heads of one key-value head, float32:
    ``[H / KV, r, T]``. ``query [H, T, D]``, ``key [KV, T, D]``.
    """
    groups = len(query) // len(key)
    own = query[kv_head * groups : (kv_head + 1) * groups, rows].float()
    scores = (own @ key[kv_head].float().T).mul_(scaling)
    hidden = torch.arange(key.shape[1], device=key.device)[None] > rows[:, None]
    return scores.masked_fill_(hidden, -torch.inf).softmax(dim=-1)
