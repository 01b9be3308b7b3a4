"""What one sample's attention is measured as: even attention, chosen rows, shared key-value heads, memory."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_families import TINY
from tiny_qwen import make_model, prompt
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers_reference import decoder

from evalkit.core.types import Prepared
from evalkit.diagnose.attention.heads import HeadLayout
from evalkit.diagnose.attention.measure import BINS, AttentionMeasure, Queries, bin_limits, first_tokens
from evalkit.diagnose.attention.options import AttentionOptions
from evalkit.inference import observation
from evalkit.inference.observation import attention_probabilities, continued_batch_of, row_blocks
from evalkit.rope.hf.install import Installed, install
from evalkit.rope.variants import parse_variant

FAMILY = TINY["qwen2_5_vl"]
ANSWER = [9, 8, 7]


def measure_of(
    model: Any, installed: Installed, item: Prepared, options: AttentionOptions, percent: float = 5.0
) -> AttentionMeasure:
    return AttentionMeasure(
        item=item,
        queries=Queries.of(item, ANSWER, options),
        positions=continued_batch_of(item, ANSWER, installed).positions[1:, 0],
        head_layout=HeadLayout.of(model, installed),
        layers=[0, 1],
        sink_percent=percent,
    )


@settings(max_examples=15, deadline=None)
@given(
    before=st.integers(0, 4),
    grids=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=3),
    percent=st.floats(1, 50),
    text=st.sampled_from(["vanilla", "mrope", "mrope-i", "mhrope", "videorope", "circlerope(age=odd)"]),
    queries=st.sampled_from(["answer", "last", "text"]),
)
def test_even_attention_has_no_sink_and_no_preferred_distance(
    before: int, grids: list[tuple[int, int]], percent: float, text: str, queries: Any
) -> None:
    model = FAMILY.model()
    installed = install(model, parse_variant(text))
    media = [("image", (1, 2 * h, 2 * w)) for h, w in grids]
    item = prompt("even", before, *media, 3)
    found = measure_of(model, installed, item, AttentionOptions(queries=queries), percent)
    length = item.length + len(ANSWER)
    for layer in (0, 1):
        found(layer, torch.zeros(4, length, 8), torch.randn(4, length, 8), 1.0)
    rows = np.array(found.queries.places)
    visual = np.array([(item.token_types[: row + 1] != 0).sum() for row in rows])
    np.testing.assert_allclose(found.share, (visual / (rows + 1)).mean(), rtol=1e-6)
    np.testing.assert_allclose(found.sink[0], found.sink[1], rtol=1e-6, atol=1e-9)
    for group in range(found.distances.shape[1]):
        np.testing.assert_allclose(found.distances[:, group], found.even_distances, atol=1e-6)
    np.testing.assert_allclose(found.distances.sum(axis=(3, 4)), 1, rtol=1e-6)


@pytest.mark.parametrize("heads", [4, 8])
def test_query_heads_share_key_value_heads_as_in_transformers(heads: int) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(heads, 11, 6), torch.randn(4, 11, 6)
    scores = query @ key.repeat_interleave(heads // 4, dim=0).transpose(1, 2) * 0.3
    hidden = torch.ones(11, 11, dtype=torch.bool).triu(1)
    expected = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    rows = torch.tensor([2, 5, 10])
    found = [attention_probabilities(query, key, kv_head, rows, 0.3) for kv_head in range(4)]
    torch.testing.assert_close(torch.cat(found), expected[:, rows])


@pytest.mark.parametrize("text", ["mrope-i", "mhrope"])
def test_shares_equal_eager_ones_where_query_heads_share_keys(text: str) -> None:
    model = make_model(heads=8, kv_heads=4)
    installed = install(model, parse_variant(text))
    item = prompt("grouped", 3, ("image", (1, 6, 8)), 5)
    found = measure_of(model, installed, item, AttentionOptions())
    decoder(model, installed, FAMILY.generation_tokens, FAMILY.encode).observe(item, ANSWER, found)
    inputs = FAMILY.own_inputs(model, item)
    types = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(ANSWER)))
    ids = torch.cat([torch.from_numpy(item.input_ids), torch.tensor(ANSWER)])[None]
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        call = {**inputs, "input_ids": ids, "mm_token_type_ids": types}
        weights = model(**call, use_cache=False, output_attentions=True).attentions
    rows, visual = list(found.queries.places), np.flatnonzero(item.token_types)
    for layer, each in enumerate(weights):
        expected = each[0][:, rows][:, :, visual].sum(2).mean(1)
        np.testing.assert_allclose(found.share[layer], expected, rtol=0, atol=1e-5)
    assert (found.head_layout.group_of_head == [0] * 8) == (text == "mrope-i")


def test_heads_are_grouped_by_the_axes_that_rotate_them() -> None:
    model = make_model(heads=8, kv_heads=4)
    by_heads = HeadLayout.of(model, install(model, parse_variant("mhrope")))
    assert (by_heads.groups, by_heads.axes) == (("t", "h", "w"), ("t", "h", "w"))
    assert by_heads.group_of_head == [0, 0, 0, 0, 1, 1, 2, 2]
    for text, axes in (("vanilla", ("t",)), ("mrope-i", ("t", "h", "w")), ("hope", ("h", "w"))):
        found = HeadLayout.of(model, install(model, parse_variant(text)))
        assert (found.groups, found.axes) == (("all",), axes)


def test_queries_are_those_that_choose_the_answers_tokens() -> None:
    item = prompt("rows", 2, ("image", (1, 4, 4)), 3)
    last = item.length - 1
    answer = Queries.of(item, [7, 8, 9], AttentionOptions())
    assert (answer.places, answer.answer) == ((last, last + 1, last + 2), (0, 1, 2))
    assert Queries.of(item, [7, 8, 9], AttentionOptions(queries="last")).places == (last,)
    assert Queries.of(item, [], AttentionOptions()).places == (last,)  # the query that ended it
    text = Queries.of(item, [7], AttentionOptions(queries="text"))
    image = np.flatnonzero(item.token_types)
    assert text.places == tuple(range(image[-1] + 1, item.length))
    assert text.answer == (*[-1] * (len(text.places) - 1), 0)


def test_ranges_of_distances_cover_every_number_once() -> None:
    ahead, behind = (
        [bin_limits(number) for number in part] for part in (range(BINS // 2), range(BINS // 2, BINS))
    )
    assert ahead[0][0] == 0
    assert ahead[-1][1] == math.inf
    assert all(left[1] == right[0] for left, right in pairwise(ahead))
    assert [(-high, -low) for low, high in behind] == ahead


def test_a_block_no_longer_than_its_first_tokens_says_nothing_of_sinks() -> None:
    model = make_model()
    installed = install(model, parse_variant("mrope"))
    item = prompt("one token", 2, ("image", (1, 2, 2)), 3)
    found = measure_of(model, installed, item, AttentionOptions())
    decoder(model, installed, FAMILY.generation_tokens, FAMILY.encode).observe(item, ANSWER, found)
    assert first_tokens(1, 5) == 1
    assert found.share.min() > 0
    assert not found.sink.any()


def test_blocks_of_rows_are_small_and_complete() -> None:
    rows = torch.arange(100)
    blocks = list(row_blocks(rows, keys=1000, heads=8))
    assert torch.equal(torch.cat([block for _, block in blocks]), rows)
    assert all(len(block) * 8000 <= observation.MAX_PROBABILITIES for _, block in blocks)
    assert len(list(row_blocks(rows[:2], keys=10**6, heads=8))) == 2


class LargestTensor(TorchDispatchMode):
    """Bytes of the largest tensor that any operation returns."""

    found = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple) else [result]:
            if isinstance(each, torch.Tensor):
                self.found = max(self.found, each.numel() * each.element_size())
        return result


@pytest.mark.parametrize("queries", ["answer", "text"])
def test_memory_does_not_grow_with_the_square_of_the_length(queries: Any) -> None:
    model = make_model()
    installed = install(model, parse_variant("mhrope"))
    item = prompt("long", 1500, ("image", (1, 64, 64)), 100)
    found, largest = measure_of(model, installed, item, AttentionOptions(queries=queries)), LargestTensor()

    def observer(layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
        with largest:
            found(layer, query, key, scaling)

    decoder(model, installed, FAMILY.generation_tokens, FAMILY.encode).observe(item, ANSWER, observer)
    assert 0.1 < found.share.mean() < 0.9
    assert 0 < largest.found <= 32 * observation.MAX_PROBABILITIES < item.length**2 * 4
    assert not keeps_keys(installed, item)


def keeps_keys(installed: Installed, item: Prepared) -> bool:
    """Whether keys and values stay with the batch after a layer."""
    batch = continued_batch_of(item, ANSWER, installed)
    attention = observation.ObservedAttention(batch, lambda layer, query, key, scaling: None)
    length = item.length + len(ANSWER)
    attention.attend(0, *(torch.zeros(4, length, 8) for _ in range(3)), 1.0)
    return bool(batch.keys or batch.values)
