"""Keys and values of answers that are being generated.

A kv_cache holds groups with the same number of prompts and of like length. A group's slots are its prefix,
the suffixes of its prompts, and then one slot for every prompt and step; a mask says which of them a
prompt sees. So one call attends to a whole kv_cache, and a shared prefix is read once for all its prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from evalkit.inference.async_copies import to_device
from evalkit.inference.prefill import GroupSlices, PrefillBatch
from evalkit.inference.sequence import SequenceState

MIN_SLOTS = 64
RESERVED_TOKENS = 32
"""Generated tokens that a new group has room for, if its answers may be that long."""


@dataclass(frozen=True)
class DecodeMetadata:
    """One step of the running sequences of a kv_cache: their batch_index ``[m]``, and the bias of all batch_index
    ``[U, 1, n * G, width]``.
    """

    group_index: Tensor
    batch_index: Tensor
    slot_mapping: Tensor
    bias: Tensor


@dataclass(eq=False)
class KVCache:
    """``sequences [U][n]``, slots in use ``lengths [U]``, what a sequence sees ``attention_mask [U, n, C]``; ``keys`` and
    ``values`` of every layer ``[U, KV, C, D]``.
    """

    sequences: list[list[SequenceState]]
    lengths: list[int]
    attention_mask: Tensor
    keys: list[Tensor]
    values: list[Tensor]

    @property
    def bucket(self) -> tuple[int, int]:
        """Slabs of one bucket can be joined: sequences of a group, and slots."""
        return self.attention_mask.shape[1], self.attention_mask.shape[2]

    @property
    def capacity(self) -> int:
        """Tokens that there is room for."""
        return self.attention_mask.shape[0] * self.attention_mask.shape[2]

    @property
    def running(self) -> list[SequenceState]:
        """Rows that go on, in the order of their batch_index."""
        return [sequence for group in self.sequences for sequence in group if sequence.finish_reason is None]

    def active_groups(self) -> list[int]:
        """Units with sequences that go on."""
        return [
            number
            for number, group in enumerate(self.sequences)
            if any(sequence.finish_reason is None for sequence in group)
        ]

    @property
    def all_active(self) -> bool:
        """Whether every group has sequences that go on."""
        return len(self.active_groups()) == len(self.sequences)

    @property
    def next_length(self) -> int:
        """Columns in use after one more step of the running groups."""
        return max(self.lengths[group] for group in self.active_groups()) + self.bucket[0]

    def decode_metadata(self, num_key_value_groups: int, dtype: torch.dtype) -> DecodeMetadata:
        """Give every active_groups sequence its next slot; ``num_key_value_groups``: query heads of a key-value head."""
        groups, batch_index, slots = self.allocate_slots()
        # GPU libraries plan anew for every width; a CPU computes all of it.
        width = (
            self.next_length
            if self.attention_mask.device.type == "cpu"
            else self.rounded_width(self.next_length)
        )
        return DecodeMetadata(
            groups,
            groups * self.bucket[0] + batch_index,
            slots,
            self.bias(width, num_key_value_groups, dtype),
        )

    def allocate_slots(self) -> tuple[Tensor, Tensor, Tensor]:
        """Let every active_groups sequence see its next slot; its group, its member there, the slot: ``[m]`` each."""
        places = [
            (group, member, self.lengths[group] + member)
            for group, sequences in enumerate(self.sequences)
            for member, sequence in enumerate(sequences)
            if sequence.finish_reason is None
        ]
        groups, batch_index, slots = to_device(torch.tensor(places), self.attention_mask.device).T
        self.attention_mask[groups, batch_index, slots] = True
        return groups, batch_index, slots

    def bias(self, width: int, num_key_value_groups: int, dtype: torch.dtype) -> Tensor:
        """What is added to scores of the first ``width`` slots, 0 or minus infinity:
        ``[U, 1, n * G, width]``.
        """
        bias = torch.zeros(
            len(self.sequences), self.bucket[0], width, dtype=dtype, device=self.attention_mask.device
        )
        bias.masked_fill_(~self.attention_mask[:, :, :width], -torch.inf)
        return bias.repeat_interleave(num_key_value_groups, dim=1)[:, None]

    def rounded_width(self, width: int) -> int:
        """A number of slots that is at least ``width``, and one of few."""
        return min(self.bucket[1], -(-width // MIN_SLOTS) * MIN_SLOTS)

    def advance(self) -> None:
        """The slots of the last step are taken."""
        active_groups = set(self.active_groups())
        self.lengths = [
            size + self.bucket[0] * (number in active_groups) for number, size in enumerate(self.lengths)
        ]

    def attend(
        self, metadata: DecodeMetadata, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """Attention of the running sequences: ``query [H, m, D]``, ``key`` and ``value [KV, m, D]``."""
        keys, values = self.keys[layer], self.values[layer]
        places = [
            each.to(keys.device)
            for each in (metadata.group_index, metadata.slot_mapping, metadata.batch_index)
        ]
        keys[places[0], :, places[1]] = key.transpose(0, 1)
        values[places[0], :, places[1]] = value.transpose(0, 1)
        groups, kv_heads, _, size = keys.shape
        count, heads, width = self.bucket[0], len(query), metadata.bias.shape[-1]
        padded_queries = query.new_zeros(groups * count, heads, size)
        padded_queries[places[2]] = query.transpose(0, 1)
        # Query heads of one key-value head stand beside each other as tokens, sequence after sequence.
        folded = padded_queries.view(groups, count, kv_heads, -1, size).permute(0, 2, 1, 3, 4)
        found = scaled_dot_product_attention(
            folded.reshape(groups, kv_heads, -1, size),
            keys[:, :, :width],
            values[:, :, :width],
            attn_mask=metadata.bias.to(keys.device),
            scale=scaling,
        )
        found = found.view(groups, kv_heads, count, -1, size).permute(0, 2, 1, 3, 4)
        return found.reshape(groups * count, heads, size)[places[2]].transpose(0, 1)


@dataclass(frozen=True)
class DecodeAttention:
    """Attention of one step over the running sequences of kv_caches, one kv_cache after the other."""

    kv_caches: Sequence[KVCache]
    metadata: Sequence[DecodeMetadata]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See :class:`evalkit.inference.attention.AttentionFn`."""
        found, at = [], 0
        for kv_cache, metadata in zip(self.kv_caches, self.metadata, strict=True):
            part = slice(at, at + len(metadata.batch_index))
            found.append(
                kv_cache.attend(metadata, layer, query[:, part], key[:, part], value[:, part], scaling)
            )
            at = part.stop
        return torch.cat(found, dim=1)


def merge_kv_caches(parts: Sequence[tuple[KVCache, Sequence[int]]], slots: int) -> KVCache:
    """A new kv_cache of some groups of other ones."""
    kept = [
        (kv_cache, to_device(torch.tensor(groups), kv_cache.attention_mask.device))
        for kv_cache, groups in parts
    ]
    total = sum(len(groups) for _, groups in parts)
    first = parts[0][0]

    def copied(layers: Sequence[list[Tensor]]) -> Iterator[Tensor]:
        for layer in zip(*layers, strict=True):
            # Zeros, since what isn't attention_mask is still multiplied by 0.
            new = layer[0].new_zeros(total, layer[0].shape[1], slots, layer[0].shape[3])
            at = 0
            for old, (_, groups) in zip(layer, kept, strict=True):
                width = min(slots, old.shape[2])
                new[at : at + len(groups), :, :width] = old[groups.to(old.device), :, :width]
                at += len(groups)
            yield new

    attention_mask = first.attention_mask.new_zeros(total, first.bucket[0], slots)
    at = 0
    for kv_cache, groups in kept:
        width = min(slots, kv_cache.attention_mask.shape[2])
        attention_mask[at : at + len(groups), :, :width] = kv_cache.attention_mask[groups, :, :width]
        at += len(groups)
    return KVCache(
        [kv_cache.sequences[group] for kv_cache, groups in parts for group in groups],
        [kv_cache.lengths[group] for kv_cache, groups in parts for group in groups],
        attention_mask,
        list(copied([kv_cache.keys for kv_cache, _ in parts])),
        list(copied([kv_cache.values for kv_cache, _ in parts])),
    )


def kv_caches_of(batch: PrefillBatch, sequences: Sequence[SequenceState]) -> list[KVCache]:
    """Slabs of what a batch's running sequences go on from; ``sequences`` are those of its items."""
    buckets: dict[tuple[int, int], list[tuple[GroupSlices, list[SequenceState], list[slice]]]] = {}
    answers = iter(sequences)
    for slices in batch.group_slices:
        active_groups = [
            (sequence, suffix)
            for suffix, sequence in zip(slices.suffixes, answers, strict=False)
            if sequence.finish_reason is None
        ]
        if active_groups:
            going, suffixes = (
                [sequence for sequence, _ in active_groups],
                [suffix for _, suffix in active_groups],
            )
            buckets.setdefault((len(active_groups), _slots_needed(slices, going, suffixes)), []).append(
                (slices, going, suffixes)
            )
    return [_gathered(batch, parts, slots) for (_, slots), parts in buckets.items()]


def _slots_needed(slices: GroupSlices, sequences: Sequence[SequenceState], suffixes: Sequence[slice]) -> int:
    """A power of two, so that groups of like length share a kv_cache."""
    size = slices.prefix.stop - slices.prefix.start + sum(suffix.stop - suffix.start for suffix in suffixes)
    size += sum(min(RESERVED_TOKENS, sequence.item.max_new_tokens) for sequence in sequences)
    return max(MIN_SLOTS, int(1 << (size - 1).bit_length()))


def _gathered(
    batch: PrefillBatch, parts: Sequence[tuple[GroupSlices, list[SequenceState], list[slice]]], slots: int
) -> KVCache:
    """One kv_cache of a batch's groups of one bucket."""
    device = batch.keys[0].device
    count = len(parts[0][1])
    index = torch.zeros(len(parts), slots, dtype=torch.long)
    attention_mask = torch.zeros(len(parts), count, slots, dtype=torch.bool)
    lengths = []
    for group, (slices, _, suffixes) in enumerate(parts):
        size = slices.prefix.stop - slices.prefix.start
        index[group, :size] = torch.arange(slices.prefix.start, slices.prefix.stop)
        attention_mask[group, :, :size] = True
        for member, suffix in enumerate(suffixes):
            end = size + suffix.stop - suffix.start
            index[group, size:end] = torch.arange(suffix.start, suffix.stop)
            attention_mask[group, member, size:end] = True
            size = end
        lengths.append(size)

    devices = {layer.device for layer in batch.keys}  # a model may be spread over several
    places = {device: to_device(index, device) for device in devices}

    def gathered(layer: Tensor) -> Tensor:
        return layer[:, places[layer.device]].transpose(0, 1).contiguous()

    return KVCache(
        [sequences for _, sequences, _ in parts],
        lengths,
        to_device(attention_mask, device),
        [gathered(layer) for layer in batch.keys],
        [gathered(layer) for layer in batch.values],
    )
