"""KV caches: the keys and values of the sequences that are being decoded.

A cache holds prefix groups of one size and of similar length. A group's slots are its prefix, the suffixes
of its prompts, and then one slot for every prompt and step; an attention mask says which of them a sequence
sees. So one call of attention serves a whole cache, and a shared prefix is read once for all its prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from evalkit.inference.async_copies import to_device
from evalkit.inference.prefill import GroupSlices, PrefillBatch, length_of
from evalkit.inference.sequence import SequenceState

MIN_SLOTS = 64
RESERVED_TOKENS = 32
"""Generated tokens that a new group has slots for, if its answers may be that long."""


@dataclass(frozen=True)
class DecodeMetadata:
    """One decode step of ``m`` sequences of a cache.

    Attributes:
        group_index: the group of each, ``[m]``.
        batch_index: the number of each among all sequences of the cache, ``[m]``.
        slot_mapping: the slot for its new key and value, ``[m]``.
        bias: added to the attention scores of all sequences, 0 or minus infinity:
            ``[U, 1, n * query heads of a key-value head, width]``.
    """

    group_index: Tensor
    batch_index: Tensor
    slot_mapping: Tensor
    bias: Tensor

    def to(self, device: torch.device) -> DecodeMetadata:
        """The same on a device: a model may be spread over several."""
        return DecodeMetadata(
            *(each.to(device) for each in (self.group_index, self.batch_index, self.slot_mapping, self.bias))
        )


@dataclass(eq=False)
class KVCache:
    """Keys and values of ``U`` groups of ``n`` sequences each, with ``C`` slots for a group.

    Attributes:
        sequences: ``[U][n]``, finished ones too.
        lengths: slots in use, ``[U]``.
        attention_mask: the slots that a sequence sees, ``[U, n, C]``.
        keys: of every layer, ``[U, KV, C, D]``.
        values: the same.
    """

    sequences: list[list[SequenceState]]
    lengths: list[int]
    attention_mask: Tensor
    keys: list[Tensor]
    values: list[Tensor]

    @property
    def group_size(self) -> int:
        """Sequences of a group."""
        return self.attention_mask.shape[1]

    @property
    def slots(self) -> int:
        """Slots of a group."""
        return self.attention_mask.shape[2]

    @property
    def bucket(self) -> tuple[int, int]:
        """Caches of one bucket can be merged."""
        return self.group_size, self.slots

    @property
    def running(self) -> list[SequenceState]:
        """Unfinished sequences, in the order of their numbers."""
        return [sequence for group in self.sequences for sequence in group if sequence.finish_reason is None]

    def active_groups(self) -> list[int]:
        """Groups with unfinished sequences."""
        return [
            number
            for number, group in enumerate(self.sequences)
            if any(sequence.finish_reason is None for sequence in group)
        ]

    @property
    def next_length(self) -> int:
        """Slots in use after one more step, of the longest active group."""
        return max(self.lengths[group] for group in self.active_groups()) + self.group_size

    def decode_metadata(self, num_key_value_groups: int, dtype: torch.dtype) -> DecodeMetadata:
        """Allocate the next slots. ``num_key_value_groups``: query heads of a key-value head."""
        groups, members, slots = self.allocate_slots()
        # GPU libraries plan anew for every width; a CPU computes all of it.
        on_cpu = self.attention_mask.device.type == "cpu"
        width = self.next_length if on_cpu else self.rounded_width(self.next_length)
        bias = self.bias(width, num_key_value_groups, dtype)
        return DecodeMetadata(groups, groups * self.group_size + members, slots, bias)

    def allocate_slots(self) -> tuple[Tensor, Tensor, Tensor]:
        """Let every running sequence see its next slot; its group, its number in the group, and the slot,
        ``[m]`` each.
        """
        places = [
            (group, member, self.lengths[group] + member)
            for group, sequences in enumerate(self.sequences)
            for member, sequence in enumerate(sequences)
            if sequence.finish_reason is None
        ]
        groups, members, slots = to_device(torch.tensor(places), self.attention_mask.device).T
        self.attention_mask[groups, members, slots] = True
        return groups, members, slots

    def bias(self, width: int, num_key_value_groups: int, dtype: torch.dtype) -> Tensor:
        """See :class:`DecodeMetadata`, of the first ``width`` slots."""
        mask = self.attention_mask[:, :, :width]
        bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)
        return bias.repeat_interleave(num_key_value_groups, dim=1)[:, None]

    def rounded_width(self, width: int) -> int:
        """``width`` rounded up to a multiple of ``MIN_SLOTS``, at most all slots."""
        return min(self.slots, -(-width // MIN_SLOTS) * MIN_SLOTS)

    def advance(self) -> None:
        """Count the slots of the last step as used."""
        for group in self.active_groups():
            self.lengths[group] += self.group_size

    def store(self, metadata: DecodeMetadata, layer: int, key: Tensor, value: Tensor) -> None:
        """Write the new keys and values ``[KV, m, D]`` into their slots."""
        self.keys[layer][metadata.group_index, :, metadata.slot_mapping] = key.transpose(0, 1)
        self.values[layer][metadata.group_index, :, metadata.slot_mapping] = value.transpose(0, 1)

    def attend(self, metadata: DecodeMetadata, layer: int, query: Tensor, scaling: float) -> Tensor:
        """Attention of running sequences to what they see: ``query`` and the result ``[H, m, D]``."""
        keys, values = self.keys[layer], self.values[layer]
        groups, kv_heads, _, size = keys.shape
        heads, width = len(query), metadata.bias.shape[-1]
        padded_queries = query.new_zeros(groups * self.group_size, heads, size)
        padded_queries[metadata.batch_index] = query.transpose(0, 1)
        # The query heads of a key-value head become tokens of one head, sequence after sequence.
        folded = padded_queries.view(groups, self.group_size, kv_heads, -1, size).permute(0, 2, 1, 3, 4)
        found = scaled_dot_product_attention(
            folded.reshape(groups, kv_heads, -1, size),
            keys[:, :, :width],
            values[:, :, :width],
            attn_mask=metadata.bias,
            scale=scaling,
        )
        found = found.view(groups, kv_heads, self.group_size, -1, size).permute(0, 2, 1, 3, 4)
        return found.reshape(-1, heads, size)[metadata.batch_index].transpose(0, 1)


@dataclass(frozen=True)
class DecodeAttention:
    """Attention of one decode step over several caches, whose running sequences come one after the other."""

    kv_caches: Sequence[KVCache]
    metadata: Sequence[DecodeMetadata]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See :class:`evalkit.inference.attention.AttentionFn`."""
        found, at = [], 0
        for kv_cache, step in zip(self.kv_caches, self.metadata, strict=True):
            part = slice(at, at + len(step.batch_index))
            metadata = step.to(kv_cache.keys[layer].device)
            kv_cache.store(metadata, layer, key[:, part], value[:, part])
            found.append(kv_cache.attend(metadata, layer, query[:, part], scaling))
            at = part.stop
        return torch.cat(found, dim=1)


def merge_kv_caches(parts: Sequence[tuple[KVCache, Sequence[int]]], slots: int) -> KVCache:
    """A new cache of some groups of others, with ``slots`` slots for a group."""
    caches = [cache for cache, _ in parts]
    index = [to_device(torch.tensor(groups), cache.attention_mask.device) for cache, groups in parts]

    def merged(tensors: Sequence[Tensor]) -> Tensor:
        shape = (sum(map(len, index)), tensors[0].shape[1], slots, *tensors[0].shape[3:])
        new = tensors[0].new_zeros(shape)  # masked values are still multiplied by 0: they must be finite
        at = 0
        for old, groups in zip(tensors, index, strict=True):
            width = min(slots, old.shape[2])
            new[at : at + len(groups), :, :width] = old[groups.to(old.device), :, :width]
            at += len(groups)
        return new

    return KVCache(
        sequences=[cache.sequences[group] for cache, groups in parts for group in groups],
        lengths=[cache.lengths[group] for cache, groups in parts for group in groups],
        attention_mask=merged([cache.attention_mask for cache in caches]),
        keys=[merged(layer) for layer in zip(*(cache.keys for cache in caches), strict=True)],
        values=[merged(layer) for layer in zip(*(cache.values for cache in caches), strict=True)],
    )


def kv_caches_of(batch: PrefillBatch, sequences: Sequence[SequenceState]) -> list[KVCache]:
    """The caches of a prefill batch, one for each bucket, without finished sequences; ``sequences`` are those
    of the batch's items.
    """
    buckets: dict[tuple[int, int], list[tuple[GroupSlices, list[SequenceState]]]] = {}
    states = iter(sequences)
    for slices in batch.group_slices:
        pairs = [pair for pair in zip(slices.suffixes, states, strict=False) if pair[1].finish_reason is None]
        if pairs:
            kept = replace(slices, suffixes=tuple(suffix for suffix, _ in pairs))
            running = [sequence for _, sequence in pairs]
            bucket = len(running), _slots_needed(kept, running)
            buckets.setdefault(bucket, []).append((kept, running))
    return [_kv_cache_of(batch, groups, slots) for (_, slots), groups in buckets.items()]


def _slots_needed(slices: GroupSlices, sequences: Sequence[SequenceState]) -> int:
    """A power of two, so that groups of similar length share a cache."""
    size = sum(map(length_of, (slices.prefix, *slices.suffixes)))
    size += sum(min(RESERVED_TOKENS, sequence.item.max_new_tokens) for sequence in sequences)
    return max(MIN_SLOTS, int(1 << (size - 1).bit_length()))


def _kv_cache_of(
    batch: PrefillBatch, groups: Sequence[tuple[GroupSlices, list[SequenceState]]], slots: int
) -> KVCache:
    """One cache of a batch's groups of one bucket."""
    index = torch.zeros(len(groups), slots, dtype=torch.long)  # the token in each slot
    attention_mask = torch.zeros(len(groups), len(groups[0][1]), slots, dtype=torch.bool)
    lengths = []
    for group, (slices, _) in enumerate(groups):
        size = length_of(slices.prefix)
        index[group, :size] = torch.arange(slices.prefix.start, slices.prefix.stop)
        attention_mask[group, :, :size] = True
        for member, suffix in enumerate(slices.suffixes):
            end = size + length_of(suffix)
            index[group, size:end] = torch.arange(suffix.start, suffix.stop)
            attention_mask[group, member, size:end] = True
            size = end
        lengths.append(size)
    on_device = {device: to_device(index, device) for device in {layer.device for layer in batch.keys}}

    def gathered(layer: Tensor) -> Tensor:
        return layer[:, on_device[layer.device]].transpose(0, 1).contiguous()

    return KVCache(
        sequences=[sequences for _, sequences in groups],
        lengths=lengths,
        attention_mask=to_device(attention_mask, batch.keys[0].device),
        keys=[gathered(layer) for layer in batch.keys],
        values=[gathered(layer) for layer in batch.values],
    )
