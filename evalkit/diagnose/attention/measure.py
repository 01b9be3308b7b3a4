"""Measures one sample's attention from the queries and keys of every layer, a few rows at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from evalkit.core.types import Prepared
from evalkit.diagnose.attention.heads import HeadLayout
from evalkit.diagnose.attention.options import AttentionOptions
from evalkit.inference.observation import attention_probabilities, row_blocks
from evalkit.inference.sequence import segments_of
from evalkit.rope.layout import VisualBlock

Floats = npt.NDArray[np.float64]

LIMITS = (
    *(float(number) for number in range(1, 9)),
    *(2.0**power * (1 + quarter / 4) for power in range(3, 20) for quarter in range(1, 5)),
)
"""Where ranges of absolute distances end: one wide up to 8, then four to an octave, up to 2 ** 20; the last
has no end."""
MAGNITUDES = len(LIMITS) + 1
BINS = 2 * MAGNITUDES
"""Ranges for keys at or before a query's position, and then the same for keys after it."""
KINDS = ("text", "visual")


def bin_limits(number: int) -> tuple[float, float]:
    """The distances ``[low, high)`` of a range; those of keys after the query's position are negative, and
    ``(low, high]``.

    >>> bin_limits(0), bin_limits(9), bin_limits(MAGNITUDES + 1)
    ((0.0, 1.0), (10.0, 12.0), (-2.0, -1.0))
    """
    low, high = (0.0, *LIMITS, math.inf)[number % MAGNITUDES :][:2]
    return (low, high) if number < MAGNITUDES else (-high, -low)


@dataclass(frozen=True)
class Queries:
    """The queries that are looked at: their places in the sequence, ascending, and for those that choose a
    token of the answer its number, else -1.
    """

    places: tuple[int, ...]
    answer: tuple[int, ...]

    @classmethod
    def of(cls, item: Prepared, answer: Sequence[int], options: AttentionOptions) -> Queries:
        """Those that options ask for; an answer without tokens has the query that ended it."""
        count = 1 if options.queries == "last" else max(1, len(answer))
        begin = item.length - 1
        before: list[int] = []
        if options.queries == "text":
            text = np.flatnonzero(item.token_types[:begin] == 0)
            visual = np.flatnonzero(item.token_types)
            before = text[text > visual[0]].tolist() if visual.size else []
        numbers = range(count)
        return cls((*before, *(begin + n for n in numbers)), (*[-1] * len(before), *numbers))


@dataclass
class AttentionMeasure:
    """An :class:`~evalkit.inference.observation.AttentionObserver` of one sample; ``L`` layers are measured.

    Attributes:
        item: the prompt.
        queries: whose attention is measured.
        positions: position ids ``[R, T]`` of prompt and answer.
        head_layout: of the model.
        layers: the layers measured, counted from 0.
        sink_percent: see :class:`~evalkit.diagnose.attention.options.AttentionOptions`.
        share: attention on visual tokens, mean over the queries, ``[L, H]``.
        by_query: the same, mean over the heads, ``[L, Q]``.
        sink: attention on the first tokens of blocks, and what it would be if even within them, summed over
            queries and blocks, ``[2, L, H]``.
        distances: attention by head group, axis, kind of key and range, mean over queries and the group's
            heads, ``[L, G, A, 2, BINS]``.
        even_distances: what it would be if even over all keys that a query sees, ``[L, A, 2, BINS]``.
        heat: attention on each visual token, mean over queries and heads, ``[L, V]``.
    """

    item: Prepared
    queries: Queries
    positions: Tensor
    head_layout: HeadLayout
    layers: Sequence[int]
    sink_percent: float
    share: Floats = field(init=False)
    by_query: Floats = field(init=False)
    sink: Floats = field(init=False)
    distances: Floats = field(init=False)
    even_distances: Floats = field(init=False)
    heat: Floats = field(init=False)

    def __post_init__(self) -> None:
        layers, heads, queries = len(self.layers), self.head_layout.heads, len(self.queries.places)
        axes = len(self.head_layout.axes)
        self.share, self.by_query = np.zeros((layers, heads)), np.zeros((layers, queries))
        self.sink = np.zeros((2, layers, heads))
        self.distances = np.zeros((layers, len(self.head_layout.groups), axes, 2, BINS))
        self.even_distances = np.zeros((layers, axes, 2, BINS))
        self.heat = np.zeros((layers, int((self.item.token_types != 0).sum())))

    def __call__(self, layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
        """See :class:`~evalkit.inference.observation.AttentionObserver`."""
        if layer not in self.layers:
            return
        number, groups = self.layers.index(layer), self.head_layout.groups
        rows = torch.tensor(self.queries.places, device=query.device)
        length, per_kv_head = key.shape[1], len(query) // len(key)
        for part, block in row_blocks(rows, length, per_kv_head):
            bins = self._bins(self.head_layout.layer_groups[layer], block)
            self.even_distances[number] += self._even(bins, block)
            for kv_head in range(len(key)):
                found = attention_probabilities(query, key, kv_head, block, scaling)
                heads = slice(kv_head * per_kv_head, (kv_head + 1) * per_kv_head)
                self._add_blocks(number, heads, part, found)
                self._add_distances(number, self.head_layout.group_of_kv_head[kv_head], bins, found)
        count = len(rows)
        sizes = np.bincount(self.head_layout.group_of_head, minlength=len(groups))
        self.share[number] /= count
        self.distances[number] /= (count * sizes)[:, None, None, None]
        self.even_distances[number] /= count
        self.heat[number] /= count * len(query)

    def _add_blocks(self, number: int, heads: slice, part: slice, found: Tensor) -> None:
        """Add what ``found [h, r, T]`` says of visual tokens and of the beginnings of blocks."""
        visual = found[:, :, self._visual(found.device)[: found.shape[2]]].double()
        if not visual.shape[2]:
            return
        share = visual.sum(dim=2)
        self.share[number, heads] += share.sum(dim=1).cpu().numpy()
        self.by_query[number, part] += share.sum(dim=0).cpu().numpy() / self.head_layout.heads
        self.heat[number] += visual.sum(dim=(0, 1)).cpu().numpy()
        over_queries = visual.sum(dim=1)  # [h, V]
        first, even = (each.to(found.device) for each in self._sink_weights)
        self.sink[0, number, heads] += (over_queries @ first).cpu().numpy()
        self.sink[1, number, heads] += (over_queries @ even).cpu().numpy()

    def _add_distances(self, number: int, group: int, bins: Tensor, found: Tensor) -> None:
        """Add the attention ``found [h, r, T]`` to the ranges ``bins [A, r, T]``."""
        mass = found.double().sum(dim=0).flatten()
        for axis, own in enumerate(bins):
            counts = torch.bincount(own.flatten(), mass, minlength=2 * BINS + 1)[: 2 * BINS]
            self.distances[number, group, axis] += counts.cpu().numpy().reshape(2, BINS)

    def _even(self, bins: Tensor, rows: Tensor) -> Floats:
        """The shares of keys in the ranges ``bins [A, r, T]``, summed over the rows, ``[A, 2, BINS]``."""
        weights = (1 / (rows + 1).double())[:, None].expand(bins.shape[1:]).flatten()
        counts = [torch.bincount(own.flatten(), weights, minlength=2 * BINS + 1)[: 2 * BINS] for own in bins]
        return np.array([each.cpu().numpy().reshape(2, BINS) for each in counts]).reshape(-1, 2, BINS)

    def _bins(self, layer_group: int, rows: Tensor) -> Tensor:
        """Range and kind of every key for some rows, on every axis ``[A, r, T]``; ``2 * BINS`` for keys that
        a row doesn't see.
        """
        device, begin = rows.device, layer_group * self.head_layout.num_axes
        own = [begin + axis for axis in self.head_layout.axis_rows]
        positions = self.positions[own].double().to(device)
        distance = positions[:, rows, None] - positions[:, None, :]
        limits = torch.tensor(LIMITS, dtype=torch.float64, device=device)
        bins = torch.bucketize(distance.abs(), limits, right=True)
        bins += MAGNITUDES * (distance < 0)
        visual = torch.zeros(positions.shape[1], dtype=torch.long, device=device)
        visual[self._visual(device)] = BINS
        bins += visual
        places = torch.arange(positions.shape[1], device=device)
        return bins.masked_fill_(places > rows[:, None], 2 * BINS)

    def _visual(self, device: torch.device) -> Tensor:
        """Places of the visual tokens."""
        return torch.from_numpy(np.flatnonzero(self.item.token_types)).to(device)

    @cached_property
    def _sink_weights(self) -> tuple[Tensor, Tensor]:
        """Of each visual token: whether it is among the first of its block, and the share of those among the
        block's tokens, float64 ``[V]``; both 0 in a block that is no longer than its first tokens.
        """
        first, even = np.zeros(self.heat.shape[1]), np.zeros(self.heat.shape[1])
        at = 0
        for segment in segments_of(self.item):
            if not isinstance(segment, VisualBlock):
                continue
            length = segment.length
            count = first_tokens(length, self.sink_percent)
            if count < length:
                first[at : at + count], even[at : at + length] = 1.0, count / length
            at += length
        return torch.from_numpy(first), torch.from_numpy(even)


def first_tokens(length: int, percent: float) -> int:
    """The number of tokens that are a block's first: a share of them, rounded up.

    >>> first_tokens(20, 5), first_tokens(21, 5), first_tokens(4, 5)
    (1, 2, 1)
    """
    return max(1, math.ceil(round(length * percent / 100, 9)))
