"""Prompts one after the other in one call of the language model, without padding.

Of a unit (prompts about the same media), the tokens up to the last visual one are there once. These
attend to themselves, and each prompt's rest to them and to itself: in two calls whether or not the
first part is shared, so that sharing it changes no result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import pad, scaled_dot_product_attention

from evalkit.models.attention import ends_of, flash_takes, ragged
from evalkit.models.base import Unit
from evalkit.models.generation import segments_of
from evalkit.models.transfer import sent
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

LONG = 2048
ROUNDED = 512
"""Tokens from which on a prefix is given to cuDNN, and to a multiple of which it is padded for it."""

BY_PREFERENCE = (
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)


@dataclass(frozen=True)
class Sweep:
    """Sequences for one call of attention: their tokens, those that they see (``[K]``, sequence after
    sequence), where both end, and the longest.
    """

    rows: slice
    seen: Tensor
    ends: tuple[Tensor, Tensor]
    longest: tuple[int, int]

    def to(self, device: torch.device) -> Sweep:
        """The same on a device."""
        ends = (sent(self.ends[0], device), sent(self.ends[1], device))
        return replace(self, seen=sent(self.seen, device), ends=ends)


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
    sent: dict[torch.device, list[Sweep]] = field(default_factory=dict)

    def sweeps(self, device: torch.device) -> list[Sweep]:
        """All rests, and prefixes that aren't long, in their order: neighbours together. Sent to a device
        once, not for every layer, which would wait for the layers before.
        """
        if device not in self.sent:
            self.sent[device] = [sweep.to(device) for sweep in _sweeps(self.spans)]
        return self.sent[device]

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
            self._attend_at_once(query, key, value, scaling, found)
            return found
        for span in self.spans:
            first = span.prefix
            if first.stop > first.start:
                found[:, first] = causal(query[:, first], key[:, first], value[:, first], scaling, self.masks)
            for rest in span.rests:
                keys, values = (_joined(each, first, rest) for each in (key, value))
                found[:, rest] = causal(query[:, rest], keys, values, scaling, self.masks)
        return found

    def _attend_at_once(
        self, query: Tensor, key: Tensor, value: Tensor, scaling: float, found: Tensor
    ) -> None:
        """Long prefixes one by one, and all other sequences in a few calls."""
        for first in (span.prefix for span in self.spans if _long(span)):
            found[:, first] = long_causal(query[:, first], key[:, first], value[:, first], scaling)
        for sweep in self.sweeps(key.device):
            keys, values = (each.transpose(0, 1)[sweep.seen].transpose(0, 1) for each in (key, value))
            found[:, sweep.rows] = ragged(
                query[:, sweep.rows], keys, values, sweep.ends, sweep.longest, scaling, causal=True
            )


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


def long_causal(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Causal attention of one long sequence on a GPU, like :func:`causal`, by cuDNN where it can: twice as
    fast as FlashAttention 2 on an H200. Lengths are rounded up, since cuDNN plans anew for each.
    """
    length = query.shape[1]
    q, k, v = (pad(each, (0, 0, 0, -length % ROUNDED))[None] for each in (query, key, value))
    with sdpa_kernel(list(BY_PREFERENCE), set_priority=True):
        found = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
    return found[0, :, :length]


def _long(span: Span) -> bool:
    return bool(span.prefix.stop - span.prefix.start >= LONG)


def _sweeps(spans: Sequence[Span]) -> Iterator[Sweep]:
    sequences: list[tuple[slice, slice]] = []
    size = 0
    for span in spans:
        prefixes = [] if _long(span) else [(slice(0, 0), span.prefix)]
        for before, own in [*prefixes, *((span.prefix, rest) for rest in span.rests)]:
            keys = before.stop - before.start + own.stop - own.start
            apart = bool(sequences) and sequences[-1][1].stop != own.start
            if sequences and (apart or size + keys > GATHERED):
                yield _sweep(sequences)
                sequences, size = [], 0
            if own.stop > own.start:
                sequences.append((before, own))
                size += keys
    yield _sweep(sequences)


def _sweep(sequences: Sequence[tuple[slice, slice]]) -> Sweep:
    """Of sequences one after the other, each with what it sees before itself."""
    queries = [own.stop - own.start for _, own in sequences]
    keys = [
        before.stop - before.start + length for (before, _), length in zip(sequences, queries, strict=True)
    ]
    seen = np.concatenate([np.arange(part.start, part.stop) for pair in sequences for part in pair])
    rows = slice(sequences[0][1].start, sequences[-1][1].stop)
    return Sweep(rows, torch.from_numpy(seen), (ends_of(queries), ends_of(keys)), (max(queries), max(keys)))


def _joined(tokens: Tensor, first: slice, rest: slice) -> Tensor:
    """``tokens [KV, T, D]`` of a prefix and of what comes after it."""
    if first.stop == rest.start:
        return tokens[:, first.start : rest.stop]
    return torch.cat([tokens[:, first], tokens[:, rest]], dim=1)
