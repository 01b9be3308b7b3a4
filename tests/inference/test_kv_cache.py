"""KV caches against attention that is written out for each sequence."""

from __future__ import annotations

import torch
from tiny_qwen import prompt
from torch import Tensor

from evalkit.inference.kv_cache import MIN_SLOTS, DecodeAttention, KVCache, merge_kv_caches
from evalkit.inference.sequence import SequenceState

HEADS, KV_HEADS, SIZE = 4, 2, 8


def filled(lengths: list[int], group_size: int, seed: int) -> KVCache:
    """A cache of one layer with random keys and values; every sequence sees some of its group's slots."""
    random = torch.Generator().manual_seed(seed)
    groups = len(lengths)
    mask = torch.zeros(groups, group_size, MIN_SLOTS, dtype=torch.bool)
    for group, length in enumerate(lengths):
        mask[group, :, :length] = torch.rand(group_size, length, generator=random) < 0.7
    return KVCache(
        sequences=[
            [SequenceState(prompt("a", 3, limit=9), torch.zeros(3)) for _ in range(group_size)]
            for _ in lengths
        ],
        lengths=lengths,
        attention_mask=mask,
        keys=[torch.randn(groups, KV_HEADS, MIN_SLOTS, SIZE, generator=random)],
        values=[torch.randn(groups, KV_HEADS, MIN_SLOTS, SIZE, generator=random)],
    )


def step(caches: list[KVCache], seed: int) -> tuple[Tensor, Tensor]:
    """Attention of one decode step, and what it should be."""
    random = torch.Generator().manual_seed(seed)
    count = sum(len(cache.running) for cache in caches)
    query = torch.randn(HEADS, count, SIZE, generator=random)
    key, value = (torch.randn(KV_HEADS, count, SIZE, generator=random) for _ in range(2))
    metadata = [cache.decode_metadata(HEADS // KV_HEADS, torch.float32) for cache in caches]
    found = DecodeAttention(caches, metadata).attend(0, query, key, value, 0.5)
    expected = torch.empty_like(query)
    places = [
        (cache, group, member)
        for cache in caches
        for group, sequences in enumerate(cache.sequences)
        for member, sequence in enumerate(sequences)
        if sequence.finish_reason is None
    ]
    for number, (cache, group, member) in enumerate(places):
        new = cache.lengths[group] + member
        assert cache.attention_mask[group, member, new]
        assert torch.equal(cache.keys[0][group, :, new], key[:, number])
        seen = cache.attention_mask[group, member]
        for head in range(HEADS):
            own = head // (HEADS // KV_HEADS)
            scores = cache.keys[0][group, own, seen] @ query[head, number] * 0.5
            expected[head, number] = scores.softmax(0) @ cache.values[0][group, own, seen]
    for cache in caches:
        cache.advance()
    return found, expected


def test_running_sequences_of_several_caches_attend_to_what_they_see() -> None:
    caches = [filled([10, 7], 2, seed=0), filled([12], 3, seed=1)]
    for number in range(4):
        torch.testing.assert_close(*step(caches, seed=number))
        caches[number % 2].sequences[0][number // 2].finish_reason = "stop"
    assert caches[0].lengths == [10 + 6, 7 + 8], "a group without running sequences takes no slots"
    assert caches[0].active_groups() == [1]


def test_merged_caches_go_on_as_before() -> None:
    caches = [filled([10, 7], 2, seed=0), filled([12, 9], 2, seed=1)]
    step(caches, seed=2)
    merged = merge_kv_caches([(caches[0], [1]), (caches[1], [0, 1])], 2 * MIN_SLOTS)
    assert merged.bucket == (2, 2 * MIN_SLOTS)
    assert merged.lengths == [7 + 2, 12 + 2, 9 + 2]
    assert merged.sequences == [caches[0].sequences[1], *caches[1].sequences]
    caches[0].sequences[0] = []  # not among the merged ones
    expected, _ = step(caches, seed=3)
    found, _ = step([merged], seed=3)
    torch.testing.assert_close(found, expected)
