"""Prefill: many prompts in one call of the language model, one after the other without padding.

Prompts about the same media form a prefix group, whose prefix (the tokens up to the last visual one) is there
once. The prefix attends to itself, and each prompt's suffix to the prefix and to itself, in two calls whether
or not the prefix is shared: so sharing it changes no result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

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

MAX_GATHERED_KEYS = 1 << 19
"""Keys of one call of FlashAttention, which are copied for it: 0.5 GB of a 7B model."""

LONG_PREFIX = 2048
CUDNN_LENGTH_MULTIPLE = 512
"""Prefixes of at least ``LONG_PREFIX`` tokens go to cuDNN, padded to a multiple of the latter."""


@dataclass(frozen=True)
class GroupSlices:
    """Where the tokens of a prefix group are in the batch: its prefix, and the suffix of each prompt."""

    prefix_group: PrefixGroup
    prefix: slice
    suffixes: tuple[slice, ...]


@dataclass(frozen=True)
class VarlenBatch:
    """One call of varlen attention: neighbouring sequences of the prefill batch, and the tokens they see.

    Attributes:
        queries: the tokens of the sequences.
        key_index: the tokens seen, sequence after sequence, ``[K]``.
        cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k: see
            :func:`~evalkit.inference.attention.varlen_attention`.
    """

    queries: slice
    key_index: Tensor
    cu_seqlens_q: Tensor
    cu_seqlens_k: Tensor
    max_seqlen_q: int
    max_seqlen_k: int


@dataclass
class PrefillBatch:
    """Prefix groups one after the other, ``T`` tokens in all.

    Attributes:
        group_slices: where each group's tokens are.
        token_ids: ``[T]``, on the CPU.
        positions: position ids, ``[1 + R, 1, T]``.
        next_position: of every prompt, the positions of its first generated token, ``[R]``.
        keys: of every layer that has run, ``[KV, T, D]``.
        values: the same.
    """

    group_slices: list[GroupSlices]
    token_ids: Tensor
    positions: Tensor
    next_position: list[Tensor]
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    _varlen_batches: dict[torch.device, list[VarlenBatch]] = field(default_factory=dict)
    _masks: dict[tuple[int, int, int, torch.device], Tensor] = field(default_factory=dict)

    @property
    def items(self) -> list[Prepared]:
        """All prompts, in the order of their suffixes."""
        return [item for slices in self.group_slices for item in slices.prefix_group.items]

    @property
    def suffixes(self) -> list[slice]:
        """Where the suffix of each prompt is."""
        return [suffix for slices in self.group_slices for suffix in slices.suffixes]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See :class:`evalkit.inference.attention.AttentionFn`; keeps the keys and values."""
        self.keys.append(key)
        self.values.append(value)
        found = torch.empty_like(query)
        if flash_supports(query):
            self._attend_varlen(query, key, value, scaling, found)
            return found
        for slices in self.group_slices:
            prefix = slices.prefix
            if length_of(prefix):
                found[:, prefix] = self._causal_attention(
                    query[:, prefix], key[:, prefix], value[:, prefix], scaling
                )
            for suffix in slices.suffixes:
                keys, values = (_concatenated(each, prefix, suffix) for each in (key, value))
                found[:, suffix] = self._causal_attention(query[:, suffix], keys, values, scaling)
        return found

    def _attend_varlen(
        self, query: Tensor, key: Tensor, value: Tensor, scaling: float, found: Tensor
    ) -> None:
        """Long prefixes one by one, and all other sequences in a few calls."""
        for prefix in (slices.prefix for slices in self.group_slices if _has_long_prefix(slices)):
            found[:, prefix] = long_causal_attention(
                query[:, prefix], key[:, prefix], value[:, prefix], scaling
            )
        for batch in self._varlen_batches_on(key.device):
            keys, values = (each.transpose(0, 1)[batch.key_index].transpose(0, 1) for each in (key, value))
            found[:, batch.queries] = varlen_attention(
                query[:, batch.queries],
                keys,
                values,
                cu_seqlens_q=batch.cu_seqlens_q,
                cu_seqlens_k=batch.cu_seqlens_k,
                max_seqlen_q=batch.max_seqlen_q,
                max_seqlen_k=batch.max_seqlen_k,
                scaling=scaling,
                causal=True,
            )

    def _varlen_batches_on(self, device: torch.device) -> list[VarlenBatch]:
        # Copied once: a copy in every layer would wait for the layers before it.
        if device not in self._varlen_batches:
            self._varlen_batches[device] = list(_varlen_batches(self.group_slices, device))
        return self._varlen_batches[device]

    def _causal_attention(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """The last ``S`` of ``K`` tokens attend to all up to themselves: ``query [H, S, D]``, ``key`` and
        ``value [KV, K, D]``.
        """
        heads, length, size = query.shape
        kv_heads, total, _ = key.shape
        if length == total:
            q, k, v = query[None], key[None], value[None]
            return scaled_dot_product_attention(
                q, k, v, is_causal=True, scale=scaling, enable_gqa=heads != kv_heads
            )[0]
        # The query heads of a key-value head become tokens of one head, so that no kernel repeats keys.
        groups = heads // kv_heads
        mask = self._causal_mask(length, total, groups, query.device)
        folded = query.reshape(1, kv_heads, groups * length, size)
        found = scaled_dot_product_attention(folded, key[None], value[None], attn_mask=mask, scale=scaling)
        return found.reshape(heads, length, size)

    def _causal_mask(self, length: int, total: int, groups: int, device: torch.device) -> Tensor:
        """What the last ``length`` of ``total`` tokens see, for each of ``groups`` query heads:
        ``[groups * length, total]``, made once for all layers.
        """
        shape = (length, total, groups, device)
        if shape not in self._masks:
            mask = torch.ones(length, total, dtype=torch.bool, device=device).tril(total - length)
            self._masks[shape] = mask.repeat(groups, 1)
        return self._masks[shape]


def prefill_batch_of(prefix_groups: Sequence[PrefixGroup], installed: Installed) -> PrefillBatch:
    """Lay prefix groups out one after the other; each prompt has the positions that it has alone."""
    group_slices, ids, positions, next_position, at = [], [], [], [], 0
    for prefix_group in prefix_groups:
        prefix = slice(at, at + prefix_group.prefix)
        at = prefix.stop
        suffixes = []
        for number, item in enumerate(prefix_group.items):
            placed = installed.position_batch([segments_of(item)], item.length)
            skipped = 0 if number == 0 else prefix_group.prefix
            ids.append(item.input_ids[skipped:])
            positions.append(placed.prompt[:, :, skipped:])
            next_position.append(placed.next_position[:, 0])
            suffixes.append(slice(at, at + item.length - prefix_group.prefix))
            at = suffixes[-1].stop
        group_slices.append(GroupSlices(prefix_group, prefix, tuple(suffixes)))
    return PrefillBatch(
        group_slices, torch.from_numpy(np.concatenate(ids)), torch.cat(positions, dim=2), next_position
    )


def split_by_tokens(prefix_groups: Sequence[PrefixGroup], tokens: int) -> Iterator[list[PrefixGroup]]:
    """Cut prefix groups, in their order, into lists of at most ``tokens`` tokens; a larger group is alone."""
    batch: list[PrefixGroup] = []
    length = 0
    for prefix_group in prefix_groups:
        if batch and length + prefix_group.tokens > tokens:
            yield batch
            batch, length = [], 0
        batch.append(prefix_group)
        length += prefix_group.tokens
    if batch:
        yield batch


def long_causal_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Causal attention of one long sequence on a GPU, ``[H, T, D]`` and ``[KV, T, D]``, by cuDNN where it
    can: twice as fast as FlashAttention 2 on an H200. The length is padded, since cuDNN plans anew for each.
    """
    length = query.shape[1]
    q, k, v = (pad(each, (0, 0, 0, -length % CUDNN_LENGTH_MULTIPLE))[None] for each in (query, key, value))
    backends = [
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ]
    with sdpa_kernel(backends, set_priority=True):
        found = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
    return found[0, :, :length]


def length_of(part: slice) -> int:
    """Tokens of a slice."""
    length: int = part.stop - part.start
    return length


def _has_long_prefix(slices: GroupSlices) -> bool:
    return length_of(slices.prefix) >= LONG_PREFIX


def _varlen_batches(group_slices: Sequence[GroupSlices], device: torch.device) -> Iterator[VarlenBatch]:
    """All suffixes, and the prefixes that aren't long, in their order; a batch ends where a long prefix is
    left out, and at ``MAX_GATHERED_KEYS``.
    """
    sequences: list[tuple[slice, slice]] = []
    size = 0
    for slices in group_slices:
        prefixes = [] if _has_long_prefix(slices) else [(slice(0, 0), slices.prefix)]
        for before, own in [*prefixes, *((slices.prefix, suffix) for suffix in slices.suffixes)]:
            keys = length_of(before) + length_of(own)
            apart = bool(sequences) and sequences[-1][1].stop != own.start
            if sequences and (apart or size + keys > MAX_GATHERED_KEYS):
                yield _varlen_batch(sequences, device)
                sequences, size = [], 0
            if length_of(own):
                sequences.append((before, own))
                size += keys
    yield _varlen_batch(sequences, device)


def _varlen_batch(sequences: Sequence[tuple[slice, slice]], device: torch.device) -> VarlenBatch:
    """Of neighbouring sequences, each with the tokens that it sees before itself."""
    query_lengths = [length_of(own) for _, own in sequences]
    key_lengths = [length_of(before) + length_of(own) for before, own in sequences]
    key_index = np.concatenate([np.arange(part.start, part.stop) for pair in sequences for part in pair])
    return VarlenBatch(
        queries=slice(sequences[0][1].start, sequences[-1][1].stop),
        key_index=to_device(torch.from_numpy(key_index), device),
        cu_seqlens_q=to_device(cu_seqlens_of(query_lengths), device),
        cu_seqlens_k=to_device(cu_seqlens_of(key_lengths), device),
        max_seqlen_q=max(query_lengths),
        max_seqlen_k=max(key_lengths),
    )


def _concatenated(tokens: Tensor, prefix: slice, suffix: slice) -> Tensor:
    """``tokens [KV, T, D]`` of a prefix and of a suffix; a view if they are neighbours."""
    if prefix.stop == suffix.start:
        return tokens[:, prefix.start : suffix.stop]
    return torch.cat([tokens[:, prefix], tokens[:, suffix]], dim=1)
