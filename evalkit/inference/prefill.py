"""Prompts one after the other in one call of the language model, without padding.

Of a prefix_group (prompts about the same media), the tokens up to the last visual one are there once. These
attend to themselves, and each prompt's suffix to them and to itself: in two calls whether or not the
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

from evalkit.core.types import Prepared
from evalkit.inference.async_copies import to_device
from evalkit.inference.attention import cu_seqlens_of, flash_supports, varlen_attention
from evalkit.inference.base import PrefixGroup
from evalkit.inference.sequence import segments_of
from evalkit.rope.hf.install import Installed


@dataclass(frozen=True)
class GroupSlices:
    """Where a prefix_group's tokens are: its prefix, and the suffix of each of its prompts."""

    prefix_group: PrefixGroup
    prefix: slice
    suffixes: tuple[slice, ...]


MAX_GATHERED_KEYS = 1 << 19
"""Keys of one call of FlashAttention, which are copied for it: 0.5 GB of a 7B model."""

LONG_PREFIX = 2048
CUDNN_LENGTH_MULTIPLE = 512
"""Tokens from which on a prefix is given to cuDNN, and to a multiple of which it is padded for it."""

SDPA_BACKENDS = (
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)


@dataclass(frozen=True)
class VarlenBatch:
    """Sequences for one call of attention: their tokens, those that they see (``[K]``, sequence after
    sequence), where both end, and the max_seqlen.
    """

    queries: slice
    key_index: Tensor
    cu_seqlens: tuple[Tensor, Tensor]
    max_seqlen: tuple[int, int]

    def to(self, device: torch.device) -> VarlenBatch:
        """The same on a device."""
        cu_seqlens = (to_device(self.cu_seqlens[0], device), to_device(self.cu_seqlens[1], device))
        return replace(self, key_index=to_device(self.key_index, device), cu_seqlens=cu_seqlens)


class CausalMasks:
    """What the last tokens see of all, made once for all layers."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, torch.device], Tensor] = {}

    def last(self, length: int, total: int, num_key_value_groups: int, device: torch.device) -> Tensor:
        """``[num_key_value_groups * length, total]`` for the last ``length`` of ``total`` tokens, ``num_key_value_groups`` times over."""
        shape = (length, total, num_key_value_groups, device)
        if shape not in self._known:
            mask = torch.ones(length, total, dtype=torch.bool, device=device).tril(total - length)
            self._known[shape] = mask.repeat(num_key_value_groups, 1)
        return self._known[shape]


@dataclass
class PrefillBatch:
    """Units one after the other: ``token_ids [T]``, ``positions [1 + R, 1, T]``, for every prompt the
    positions ``next_position [R]`` of its first generated token; keys and values ``[KV, T, D]`` of the layers
    that have run.
    """

    group_slices: list[GroupSlices]
    token_ids: Tensor
    positions: Tensor
    next_position: list[Tensor]
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    masks: CausalMasks = field(default_factory=CausalMasks)
    on_device: dict[torch.device, list[VarlenBatch]] = field(default_factory=dict)

    def varlen_batches(self, device: torch.device) -> list[VarlenBatch]:
        """All suffixes, and prefixes that aren't long, in their order: neighbours together. Sent to a device
        once, not for every layer, which would wait for the layers before.
        """
        if device not in self.on_device:
            self.on_device[device] = [
                varlen_batch.to(device) for varlen_batch in _varlen_batches(self.group_slices)
            ]
        return self.on_device[device]

    @property
    def items(self) -> list[Prepared]:
        """All prompts, in the order of their suffixes."""
        return [item for slices in self.group_slices for item in slices.prefix_group.items]

    @property
    def suffixes(self) -> list[slice]:
        """Where the suffix of each prompt is."""
        return [suffix for slices in self.group_slices for suffix in slices.suffixes]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See :class:`evalkit.inference.attention.AttentionFn`; remembers keys and values."""
        self.keys.append(key)
        self.values.append(value)
        found = torch.empty_like(query)
        if flash_supports(query):
            self._attend_varlen(query, key, value, scaling, found)
            return found
        for slices in self.group_slices:
            first = slices.prefix
            if first.stop > first.start:
                found[:, first] = causal_attention(
                    query[:, first], key[:, first], value[:, first], scaling, self.masks
                )
            for suffix in slices.suffixes:
                keys, values = (_joined(each, first, suffix) for each in (key, value))
                found[:, suffix] = causal_attention(query[:, suffix], keys, values, scaling, self.masks)
        return found

    def _attend_varlen(
        self, query: Tensor, key: Tensor, value: Tensor, scaling: float, found: Tensor
    ) -> None:
        """Long prefixes one by one, and all other sequences in a few calls."""
        for first in (slices.prefix for slices in self.group_slices if _has_long_prefix(slices)):
            found[:, first] = long_causal_attention(query[:, first], key[:, first], value[:, first], scaling)
        for varlen_batch in self.varlen_batches(key.device):
            keys, values = (
                each.transpose(0, 1)[varlen_batch.key_index].transpose(0, 1) for each in (key, value)
            )
            found[:, varlen_batch.queries] = varlen_attention(
                query[:, varlen_batch.queries],
                keys,
                values,
                varlen_batch.cu_seqlens,
                varlen_batch.max_seqlen,
                scaling,
                causal=True,
            )


def prefill_batch_of(prefix_groups: Sequence[PrefixGroup], installed: Installed) -> PrefillBatch:
    """Lay prefix_groups out, each prompt with the positions that it has alone."""
    group_slices, ids, positions, next_position, at = [], [], [], [], 0
    for prefix_group in prefix_groups:
        begin, at = at, at + prefix_group.prefix
        suffixes = []
        for number, item in enumerate(prefix_group.items):
            placed = installed.position_batch([segments_of(item)], item.length)
            skipped = 0 if number == 0 else prefix_group.prefix
            ids.append(item.input_ids[skipped:])
            positions.append(placed.prompt[:, :, skipped:])
            next_position.append(placed.next_position[:, 0])
            suffixes.append(slice(at, at + item.length - prefix_group.prefix))
            at = suffixes[-1].stop
        group_slices.append(
            GroupSlices(prefix_group, slice(begin, begin + prefix_group.prefix), tuple(suffixes))
        )
    return PrefillBatch(
        group_slices, torch.from_numpy(np.concatenate(ids)), torch.cat(positions, dim=2), next_position
    )


def split_by_tokens(prefix_groups: Sequence[PrefixGroup], tokens: int) -> Iterator[list[PrefixGroup]]:
    """Units in their order, cut into runs of at most ``tokens`` tokens; a larger prefix_group is one alone."""
    run: list[PrefixGroup] = []
    length = 0
    for prefix_group in prefix_groups:
        if run and length + prefix_group.tokens > tokens:
            yield run
            run, length = [], 0
        run.append(prefix_group)
        length += prefix_group.tokens
    if run:
        yield run


def causal_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float, masks: CausalMasks) -> Tensor:
    """The last ``S`` of ``K`` tokens attend to all up to themselves: ``query [H, S, D]``, ``key`` and
    ``value [KV, K, D]``.
    """
    heads, length, size = query.shape
    kv_heads, total, _ = key.shape
    if length == total:
        return scaled_dot_product_attention(
            query[None], key[None], value[None], is_causal=True, scale=scaling, enable_gqa=heads != kv_heads
        )[0]
    # Query heads of one key-value head side by side as tokens: no kernel has to repeat keys and values.
    mask = masks.last(length, total, heads // kv_heads, query.device)
    folded = query.reshape(1, kv_heads, heads // kv_heads * length, size)
    found = scaled_dot_product_attention(folded, key[None], value[None], attn_mask=mask, scale=scaling)
    return found.reshape(heads, length, size)


def long_causal_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Causal attention of one long sequence on a GPU, like :func:`causal_attention`, by cuDNN where it can: twice as
    fast as FlashAttention 2 on an H200. Lengths are rounded up, since cuDNN plans anew for each.
    """
    length = query.shape[1]
    q, k, v = (pad(each, (0, 0, 0, -length % CUDNN_LENGTH_MULTIPLE))[None] for each in (query, key, value))
    with sdpa_kernel(list(SDPA_BACKENDS), set_priority=True):
        found = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
    return found[0, :, :length]


def _has_long_prefix(slices: GroupSlices) -> bool:
    return bool(slices.prefix.stop - slices.prefix.start >= LONG_PREFIX)


def _varlen_batches(group_slices: Sequence[GroupSlices]) -> Iterator[VarlenBatch]:
    sequences: list[tuple[slice, slice]] = []
    size = 0
    for slices in group_slices:
        prefixes = [] if _has_long_prefix(slices) else [(slice(0, 0), slices.prefix)]
        for before, own in [*prefixes, *((slices.prefix, suffix) for suffix in slices.suffixes)]:
            keys = before.stop - before.start + own.stop - own.start
            apart = bool(sequences) and sequences[-1][1].stop != own.start
            if sequences and (apart or size + keys > MAX_GATHERED_KEYS):
                yield _varlen_batch(sequences)
                sequences, size = [], 0
            if own.stop > own.start:
                sequences.append((before, own))
                size += keys
    yield _varlen_batch(sequences)


def _varlen_batch(sequences: Sequence[tuple[slice, slice]]) -> VarlenBatch:
    """Of sequences one after the other, each with what it sees before itself."""
    queries = [own.stop - own.start for _, own in sequences]
    keys = [
        before.stop - before.start + length for (before, _), length in zip(sequences, queries, strict=True)
    ]
    key_index = np.concatenate([np.arange(part.start, part.stop) for pair in sequences for part in pair])
    queries_slice = slice(sequences[0][1].start, sequences[-1][1].stop)
    return VarlenBatch(
        queries_slice,
        torch.from_numpy(key_index),
        (cu_seqlens_of(queries), cu_seqlens_of(keys)),
        (max(queries), max(keys)),
    )


def _joined(tokens: Tensor, first: slice, suffix: slice) -> Tensor:
    """``tokens [KV, T, D]`` of a prefix and of what comes after it."""
    if first.stop == suffix.start:
        return tokens[:, first.start : suffix.stop]
    return torch.cat([tokens[:, first], tokens[:, suffix]], dim=1)
