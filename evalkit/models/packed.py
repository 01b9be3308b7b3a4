"""Prompts one after the other in one call of the language model, without padding.

Of a unit (prompts about the same media), the tokens up to the last visual one are there once. These
attend to themselves, and each prompt's rest to them and to itself: in two calls whether or not the
first part is shared, so that sharing it changes no result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from evalkit.models.attention import ends_of, flash_takes, ragged
from evalkit.models.base import Unit
from evalkit.models.generation import segments_of
from evalkit.rope.install import Installed
from evalkit.types import Prepared


@dataclass(frozen=True)
class Span:
    """Where a unit's tokens are: its prefix, and the rest of each of its prompts."""

    unit: Unit
    prefix: slice
    rests: tuple[slice, ...]


GATHERED = 1 << 19
"""Keys of one call of FlashAttention, which are copied for it: 0.5 GB of a 7B model."""


@dataclass(frozen=True)
class Sweep:
    """Sequences for one call of attention: their tokens, those that they see (``[K]``, sequence after sequence),
    where both end, and the longest.
    """

    rows: slice
    seen: Tensor
    ends: tuple[Tensor, Tensor]
    longest: tuple[int, int]


class Masks:
    """What the last tokens see of all, made once for all layers."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, torch.device], Tensor] = {}

    def last(self, length: int, total: int, groups: int, device: torch.device) -> Tensor:
        """``[groups * length, total]`` for the last ``length`` of ``total`` tokens, ``groups`` times over."""
        shape = (length, total, groups, device)
        if shape not in self._known:
            mask = torch.ones(length, total, dtype=torch.bool, device=device).tril(total - length)
            self._known[shape] = mask.repeat(groups, 1)
        return self._known[shape]


@dataclass
class Pack:
    """Units one after the other: ``token_ids [T]``, ``positions [1 + R, 1, T]``, for every prompt the
    positions ``following [R]`` of its first generated token; keys and values ``[KV, T, D]`` of the layers
    that have run.
    """

    spans: list[Span]
    token_ids: Tensor
    positions: Tensor
    following: list[Tensor]
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    masks: Masks = field(default_factory=Masks)

    @cached_property
    def sweeps(self) -> list[Sweep]:
        """All prefixes and rests, in their order, in as few calls as :data:`GATHERED` allows."""
        return list(_sweeps(self.spans))

    @property
    def items(self) -> list[Prepared]:
        """All prompts, in the order of their rests."""
        return [item for span in self.spans for item in span.unit.items]

    @property
    def rests(self) -> list[slice]:
        """Where the rest of each prompt is."""
        return [rest for span in self.spans for rest in span.rests]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See :class:`evalkit.models.attention.Attend`; remembers keys and values."""
        self.keys.append(key)
        self.values.append(value)
        found = torch.empty_like(query)
        if flash_takes(query):
            for sweep in self.sweeps:
                seen, *ends = (each.to(key.device) for each in (sweep.seen, *sweep.ends))
                found[:, sweep.rows] = ragged(
                    query[:, sweep.rows],
                    *(each.transpose(0, 1)[seen].transpose(0, 1) for each in (key, value)),
                    (ends[0], ends[1]),
                    sweep.longest,
                    scaling,
                    causal=True,
                )
            return found
        for span in self.spans:
            first = span.prefix
            if first.stop > first.start:
                found[:, first] = causal(query[:, first], key[:, first], value[:, first], scaling, self.masks)
            for rest in span.rests:
                keys, values = (_joined(each, first, rest) for each in (key, value))
                found[:, rest] = causal(query[:, rest], keys, values, scaling, self.masks)
        return found


def packed(units: Sequence[Unit], installed: Installed) -> Pack:
    """Lay units out, each prompt with the positions that it has alone."""
    spans, ids, positions, following, at = [], [], [], [], 0
    for unit in units:
        begin, at = at, at + unit.prefix
        rests = []
        for number, item in enumerate(unit.items):
            placed = installed.place([segments_of(item)], item.length)
            skipped = 0 if number == 0 else unit.prefix
            ids.append(item.input_ids[skipped:])
            positions.append(placed.prompt[:, :, skipped:])
            following.append(placed.following[:, 0])
            rests.append(slice(at, at + item.length - unit.prefix))
            at = rests[-1].stop
        spans.append(Span(unit, slice(begin, begin + unit.prefix), tuple(rests)))
    return Pack(spans, torch.from_numpy(np.concatenate(ids)), torch.cat(positions, dim=2), following)


def packs(units: Sequence[Unit], tokens: int) -> Iterator[list[Unit]]:
    """Units in their order, cut into runs of at most ``tokens`` tokens; a larger unit is one alone."""
    run: list[Unit] = []
    length = 0
    for unit in units:
        if run and length + unit.tokens > tokens:
            yield run
            run, length = [], 0
        run.append(unit)
        length += unit.tokens
    if run:
        yield run


def causal(query: Tensor, key: Tensor, value: Tensor, scaling: float, masks: Masks) -> Tensor:
    """The last ``S`` of ``K`` tokens attend to all up to themselves: ``query [H, S, D]``, ``key`` and
    ``value [KV, K, D]``.
    """
    heads, length, size = query.shape
    groups, total, _ = key.shape
    if length == total:
        return scaled_dot_product_attention(
            query[None], key[None], value[None], is_causal=True, scale=scaling, enable_gqa=heads != groups
        )[0]
    # Query heads of one key-value head side by side as tokens: no kernel has to repeat keys and values.
    mask = masks.last(length, total, heads // groups, query.device)
    folded = query.reshape(1, groups, heads // groups * length, size)
    found = scaled_dot_product_attention(folded, key[None], value[None], attn_mask=mask, scale=scaling)
    return found.reshape(heads, length, size)


def _sweeps(spans: Sequence[Span]) -> Iterator[Sweep]:
    sequences: list[tuple[slice, slice]] = []
    size = 0
    for span in spans:
        for prefix, own in [(slice(0, 0), span.prefix), *((span.prefix, rest) for rest in span.rests)]:
            keys = prefix.stop - prefix.start + own.stop - own.start
            if sequences and size + keys > GATHERED:
                yield _sweep(sequences)
                sequences, size = [], 0
            if own.stop > own.start:
                sequences.append((prefix, own))
                size += keys
    yield _sweep(sequences)


def _sweep(sequences: Sequence[tuple[slice, slice]]) -> Sweep:
    """Of sequences one after the other, each with what it sees before itself."""
    queries = [own.stop - own.start for _, own in sequences]
    keys = [prefix.stop - prefix.start + length for (prefix, _), length in zip(sequences, queries, strict=True)]
    seen = np.concatenate([np.arange(part.start, part.stop) for pair in sequences for part in pair])
    rows = slice(sequences[0][1].start, sequences[-1][1].stop)
    return Sweep(rows, torch.from_numpy(seen), (ends_of(queries), ends_of(keys)), (max(queries), max(keys)))


def _joined(tokens: Tensor, first: slice, rest: slice) -> Tensor:
    """``tokens [KV, T, D]`` of a prefix and of what comes after it."""
    if first.stop == rest.start:
        return tokens[:, first.start : rest.stop]
    return torch.cat([tokens[:, first], tokens[:, rest]], dim=1)
