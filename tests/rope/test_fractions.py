"""Positions are integers or fractions by what a design returns, not by what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.rope.batch import BatchPositions, position_batch
from evalkit.rope.hf.layouts import TOKEN_LAYOUTS
from evalkit.rope.hf.position_ids import PositionIdBuilder
from evalkit.rope.layout import Segment, TextRun, VisualBlock
from evalkit.rope.positions import (
    BadPosition,
    BlockPositions,
    Cursor,
    PositionDesign,
    grid_indices,
    position_ids,
)
from evalkit.rope.positions.sequential import Sequential

LARGE = 2**24 + 1  # float32 can't hold it


@dataclass(frozen=True)
class Anything(PositionDesign):
    """Axes with slopes of their own, text after ``advance`` and generated text after ``last``; with
    ``grouped``, some layers see another design beside it.
    """

    slopes: tuple[float, float, float] = (1.0, 1.0, 1.0)
    advance: float = 1.0
    last: float = 0.0
    text: tuple[float, float, float] = (1.0, 1.0, 1.0)
    grouped: bool = False
    dtype: Any = np.float64

    @property
    def text_step(self) -> tuple[float, float, float]:
        return self.text

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        axes = [at.start + slope * axis for slope, axis in zip(self.slopes, grid_indices(block), strict=True)]
        return BlockPositions(tuple(axis.astype(self.dtype) for axis in axes), at.start + self.advance)

    def generation_start(self, next_position: float, largest: Callable[[], float]) -> float:
        return next_position + self.last

    def layer_groups(self, layers: int) -> tuple[tuple[PositionDesign, ...], tuple[int, ...]]:
        first = (Sequential(),) if self.grouped else ()
        return (*first, self), (0,) * layers


numbers = st.one_of(st.integers(0, 5).map(float), st.sampled_from([0.5, 0.25, 1 / 3, 1.5, 0.1]))
triples = st.tuples(numbers, numbers, numbers)
designs = st.builds(Anything, triples, numbers, numbers, triples, st.booleans())
runs = st.builds(TextRun, st.integers(1, 5))
blocks = st.builds(VisualBlock, st.tuples(*[st.integers(1, 4)] * 3))
rows = st.lists(st.one_of(runs, blocks), min_size=1, max_size=5)
checked = settings(max_examples=150, deadline=None)


def expected(design: Anything, segments: list[Segment], generated: int) -> np.ndarray:
    """Positions ``[3, L + generated]`` token by token, in Python's own floats."""
    at, found = 0.0, []
    for segment in segments:
        if isinstance(segment, TextRun):
            found += [[(at + k) * step for step in design.text] for k in range(segment.length)]
            at += segment.length
        else:
            places = np.ndindex(*segment.grid)
            found += [
                [at + slope * n for slope, n in zip(design.slopes, each, strict=True)] for each in places
            ]
            at += design.advance
    first = at + design.last
    found += [[first * step + k * step for step in design.text] for k in range(generated)]
    return np.array(found).T


def batch_of(design: Anything, prompts: list[list[Segment]]) -> tuple[BatchPositions, np.ndarray]:
    lengths = np.array([sum(segment.length for segment in row) for row in prompts])
    width = int(lengths.max())
    kept = np.arange(width)[None] >= width - lengths[:, None]
    return position_batch(design.layer_groups(2)[0], prompts, kept), kept


@checked
@given(design=designs, segments=rows)
def test_a_row_keeps_every_fraction(design: Anything, segments: list[Segment]) -> None:
    found = position_ids(design, segments)
    wanted = expected(design, segments, 3)
    length = sum(segment.length for segment in segments)
    np.testing.assert_array_equal(found.ids[-3:], wanted[:, :length])
    after = found.next_position[-3:, None] + found.step[-3:, None] * np.arange(3)
    np.testing.assert_allclose(after, wanted[:, length:], rtol=1e-15)
    if found.ids.dtype == np.int64:
        assert found.p_next == found.next_position[0]


@checked
@given(design=designs, segments=rows)
def test_whole_positions_stay_whole_and_nothing_else_does(design: Anything, segments: list[Segment]) -> None:
    wanted = expected(design, segments, 0)
    next_position = position_ids(design, segments).next_position[-3:]
    whole = all((each == np.floor(each)).all() for each in (wanted, next_position, np.array(design.text)))
    assert position_ids(design, segments).ids.dtype == (np.int64 if whole else np.float64)


@checked
@given(design=designs, prompts=st.lists(rows, min_size=1, max_size=3))
def test_a_batch_keeps_every_fraction(design: Anything, prompts: list[list[Segment]]) -> None:
    """Of every row, layer group and axis, in the prompt and after it, whatever stands beside it."""
    placed, kept = batch_of(design, prompts)
    tokens = placed.lengths[:, None] + torch.arange(3)
    after = placed.after(tokens)
    deltas = (placed.next_position - placed.lengths).numpy()
    for row, segments in enumerate(prompts):
        wanted = expected(design, segments, 3)
        length = int(placed.lengths[row])
        np.testing.assert_array_equal(placed.prompt[0, row][kept[row]], np.arange(length))
        np.testing.assert_array_equal(placed.prompt[-3:, row][:, kept[row]], wanted[:, :length])
        np.testing.assert_allclose(after[-3:, row], wanted[:, length:], rtol=1e-15)
        np.testing.assert_array_equal(after[0, row], length + np.arange(3))
        np.testing.assert_allclose(deltas[-3:, row], wanted[:, length] - length, rtol=1e-12, atol=1e-12)
        if design.grouped:
            total = sum(segment.length for segment in segments)
            np.testing.assert_array_equal(placed.prompt[1:4, row][:, kept[row]], [np.arange(total)] * 3)
    assert placed.prompt.dtype in (torch.int64, torch.float64)


@checked
@given(axis=st.integers(0, 2), value=st.sampled_from([0.5, 0.1, 1e-6]), start=st.integers(0, 9))
def test_one_fraction_in_one_axis_is_enough(axis: int, value: float, start: int) -> None:
    slopes = tuple(value if each == axis else 1.0 for each in range(3))
    found = position_ids(Anything(slopes, 4.0), [TextRun(start), VisualBlock((2, 2, 2)), TextRun(1)])
    assert found.ids[axis, start:].max() % 1 or found.ids[axis, start + 7] == start + value
    assert found.ids[:, -1].tolist() == [start + 4] * 3


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
def test_whole_numbers_of_any_dtype_are_int64(dtype: Any) -> None:
    found = position_ids(Anything(advance=4, dtype=dtype), [TextRun(2), VisualBlock((2, 2, 2))])
    assert found.ids.dtype == np.int64
    assert found.p_next == 6
    assert isinstance(found.p_next, int)


@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_large_positions_are_exact_beside_fractions(slope: float) -> None:
    """A float32 would make 16777217 of it 16777216."""
    prompts: list[list[Segment]] = [[TextRun(1), VisualBlock((2, 1, 1)), TextRun(2)], [TextRun(5)]]
    placed, _ = batch_of(Anything((slope, 1.0, 1.0), float(LARGE)), prompts)
    assert placed.prompt[1:, 0, -2:].tolist() == [[LARGE + 1, LARGE + 2]] * 3
    index = placed.lengths[:, None]
    assert placed.after(index)[1:, :, 0].tolist() == [[LARGE + 3, 5]] * 3
    assert placed.after(index + LARGE)[:, 1, 0].tolist() == [LARGE + 5] * 4


def test_a_fraction_of_what_follows_alone_is_kept() -> None:
    """Every position of the prompt is whole, the next one is not."""
    placed, _ = batch_of(Anything(last=0.5), [[TextRun(3)]])
    assert placed.prompt[1:, 0].tolist() == [[0, 1, 2]] * 3
    assert placed.after(torch.tensor([[3, 4]]))[1:, 0].tolist() == [[3.5, 4.5]] * 3
    assert position_ids(Anything(last=0.5), [TextRun(3)]).p_next == 3.5


def test_what_a_design_says_of_itself_does_not_count() -> None:
    class Boasting(Anything):
        whole = True

    found = position_ids(Boasting((0.5, 1.0, 1.0)), [VisualBlock((3, 1, 1))])
    assert found.ids[0].tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("field", ["slopes", "advance", "last", "text"])
def test_what_is_no_finite_number_is_refused(field: str, value: float) -> None:
    bad: Any = (1.0, value, 1.0) if field in ("slopes", "text") else value
    with np.errstate(invalid="ignore"), pytest.raises(BadPosition, match="no finite numbers"):
        position_ids(Anything(**{field: bad}), [TextRun(1), VisualBlock((2, 2, 2)), TextRun(1)])


def position_id_builder(design: Anything) -> PositionIdBuilder:
    config = SimpleNamespace(
        vision_config=SimpleNamespace(spatial_merge_size=1), image_token_id=4, video_token_id=5
    )
    return PositionIdBuilder(TOKEN_LAYOUTS["qwen2_vl"], config, design.layer_groups(2)[0])


@pytest.mark.parametrize("step", [0.5, 1 / 3, 0.0])
def test_text_after_a_cache_without_a_prompt_takes_the_designs_steps(step: float) -> None:
    """A cache that somebody saved, in a process that saw no prompt."""
    tokens = torch.zeros(2, 2, dtype=torch.long)
    found = position_id_builder(Anything(text=(1.0, step, 1.0))).for_forward(tokens, None, 7, {})
    assert found[1].tolist() == [[7, 8]] * 2
    assert found[2].tolist() == [[7 * step, 8 * step]] * 2
    assert (found.dtype == torch.int64) == (step == 0)


def test_text_after_a_cached_prompt_goes_on_at_a_fraction() -> None:
    builder = position_id_builder(Anything((0.5, 1.0, 1.0), 1.5, 0.0))
    ids = torch.tensor([[1, 5, 5, 1]])
    grid = {"video_grid_thw": torch.tensor([[2, 1, 1]])}
    prompt = builder.for_forward(ids, None, 0, grid)
    assert prompt[1].tolist() == [[0, 1, 1.5, 2.5]]
    assert builder.deltas().tolist() == [[-0.5]]
    assert builder.for_forward(torch.tensor([[1, 1]]), None, 4, {})[1].tolist() == [[3.5, 4.5]]
    assert builder.extend(prompt, 2)[1].tolist() == [[3.5, 4.5]]
    assert builder.extend(prompt.repeat_interleave(3, dim=1), 1)[1].tolist() == [[3.5]] * 3


@pytest.mark.parametrize("last", [0.0, 0.5, 2.0])
def test_a_block_at_the_end_is_followed_by_what_the_design_says(last: float) -> None:
    """transformers goes on at one above the last token, which is the block's."""
    builder = position_id_builder(Anything((1.0, 1.0, 1.0), 5.0, last))
    prompt = builder.for_forward(
        torch.tensor([[1, 5, 5]]), None, 0, {"video_grid_thw": torch.tensor([[2, 1, 1]])}
    )
    assert builder.extend(prompt, 2)[1].tolist() == [[6 + last, 7 + last]]
