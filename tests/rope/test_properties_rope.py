"""Properties that every position design has, on arbitrary sequences of text, images and videos."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.rope.layout import Segment, TextRun, VisualBlock
from evalkit.rope.positions import position_ids
from evalkit.rope.variants import parse_variant

DESIGNS = (
    "vanilla",
    "mrope",
    "mrope(absolute_time=false)",
    "mrope-i",
    "mrope-i(spatial_reset=false)",
    "mhrope",
    "mrope-i(temporal_stride=0.5)",
)
text_runs = st.builds(TextRun, st.integers(1, 12))
images = st.builds(lambda h, w: VisualBlock((1, h, w)), st.integers(1, 6), st.integers(1, 6))
videos = st.builds(
    VisualBlock,
    st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([0.5, 1.0, 0.8, 2.0]),
)
rows = st.lists(st.one_of(text_runs, images, videos), max_size=7)
checked = settings(max_examples=60, deadline=None)


def bounds(segments: list[Segment]) -> list[tuple[Segment, slice]]:
    starts = np.cumsum([0, *[segment.length for segment in segments]])
    return [(each, slice(starts[i], starts[i + 1])) for i, each in enumerate(segments)]


@pytest.mark.parametrize("text", DESIGNS)
@checked
@given(lengths=st.lists(st.integers(1, 20), max_size=4))
def test_text_alone_is_counted(text: str, lengths: list[int]) -> None:
    positions, following = position_ids(parse_variant(text), [TextRun(length) for length in lengths])
    np.testing.assert_array_equal(positions, np.broadcast_to(np.arange(sum(lengths)), positions.shape))
    assert positions.dtype == np.int64
    assert following == sum(lengths)


@pytest.mark.parametrize("text", DESIGNS)
@checked
@given(segments=rows)
def test_what_comes_next_lies_above_what_came_before(text: str, segments: list[Segment]) -> None:
    """Also on every axis of visual tokens: a later text token never shares a coordinate with them."""
    positions, following = position_ids(parse_variant(text), segments)
    assert positions.shape == (3, sum(segment.length for segment in segments))
    assert positions.max(initial=-1) < following
    for segment, place in bounds(segments):
        if isinstance(segment, TextRun):
            run = positions[:, place]
            assert (run == run[0]).all()
            assert (np.diff(run[0]) == 1).all()
            assert positions[:, : place.start].max(initial=-1) < run[0, 0]


@pytest.mark.parametrize("text", [each for each in DESIGNS if each != "mrope"])
@checked
@given(segments=rows)
def test_no_two_tokens_of_a_block_share_a_place(text: str, segments: list[Segment]) -> None:
    positions, _ = position_ids(parse_variant(text), segments)
    for _, place in bounds(segments):
        block = positions[:, place]
        assert len(np.unique(block, axis=1).T) == block.shape[1]


def test_absolute_time_may_put_two_frames_in_one_place() -> None:
    """The floor is Qwen2.5-VL's own: two frames less than half a second apart share a time."""
    block = VisualBlock((4, 1, 1), seconds_per_grid=0.25)
    positions, following = position_ids(parse_variant("mrope"), [block])
    assert positions[0].tolist() == [0, 0, 1, 1]
    assert following == 2


@pytest.mark.parametrize("text", DESIGNS)
@checked
@given(first=rows, second=rows)
def test_rows_chain(text: str, first: list[Segment], second: list[Segment]) -> None:
    """The positions of a prefix don't depend on what follows it."""
    variant = parse_variant(text)
    whole, _ = position_ids(variant, first + second)
    prefix, following = position_ids(variant, first)
    np.testing.assert_array_equal(whole[:, : prefix.shape[1]], prefix)
    if second:
        assert whole[0, prefix.shape[1]] == following


@checked
@given(segments=rows, stride=st.sampled_from([0.5, 1.0, 2.0, 3.0]))
def test_whole_numbers_are_integers(segments: list[Segment], stride: float) -> None:
    positions, following = position_ids(parse_variant(f"mrope-i(temporal_stride={stride})"), segments)
    whole = bool((positions == np.floor(positions)).all()) and following == int(following)
    assert positions.dtype == (np.int64 if whole else np.float32)
    assert isinstance(following, int) == whole


def test_the_text_after_a_long_video_lies_above_its_time() -> None:
    """transformers 5.3 to 5.23 begin it at ``b + max(H, W)``, inside the video."""
    segments = [TextRun(5), VisualBlock((64, 2, 2), seconds_per_grid=1.0), TextRun(1)]
    positions, following = position_ids(parse_variant("mrope"), segments)
    assert positions[:, -1].tolist() == [5 + 2 * 63 + 1] * 3
    assert following == 5 + 2 * 63 + 2
