"""Properties that every position design has, on arbitrary sequences of text, images and videos."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.rope.layout import Segment, TextRun, VisualBlock
from evalkit.rope.positions import SequencePositions, position_ids
from evalkit.rope.variants import VARIANTS, parse_variant

DESIGNS = (
    *VARIANTS,
    "mrope(absolute_time=false)",
    "mrope-i(spatial_reset=false)",
    "mrope-i(temporal_stride=0.5)",
    "v2pe(step=1)",
    "v2pe(span=16)",
    "rope-tie(interval=symmetric)",
    "hope(temporal_stride=0.75)",
    "circlerope(radius=auto,move_to_positive=auto)",
    "circlerope(radius=auto-2,alpha=0,move_to_positive=1.5,video=collapse)",
    "circlerope(age=odd)",
    "il-rope(text=copy)",
    "mmrope(scale=[4,8,8])",
    "mmrope(position=lumos)",
    "position=frames,frequency=temporal",
)
# Text goes on above every coordinate of the block: what the diagonal layouts give up ("modality
# confusion"), and Lumos, whose scale makes grids longer than their number of tokens.
ABOVE = tuple(each for each in DESIGNS if not each.startswith(("videorope", "hope", "mmrope(position=lumos")))
# Two tokens of a block in one place: only where a design is meant to (absolute time, one ring for all
# frames, one position per frame).
APART = tuple(
    each
    for each in DESIGNS
    if each not in ("mrope", "tad-rope", "position=frames,frequency=temporal") and "collapse" not in each
)
text_runs = st.builds(TextRun, st.integers(1, 12))
images = st.builds(lambda h, w: VisualBlock((1, h, w)), st.integers(1, 6), st.integers(1, 6))
tiled = st.builds(
    lambda h, w, r, c: VisualBlock((1, h * r, w * c), tile=(r, c)), *[st.integers(1, 3) for _ in range(4)]
)
videos = st.builds(
    VisualBlock,
    st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([0.5, 1.0, 0.8, 2.0]),
)
blocks = st.one_of(images, tiled, videos)
rows = st.lists(st.one_of(text_runs, blocks), max_size=7)
checked = settings(max_examples=40, deadline=None)


def place(text: str, segments: list[Segment]) -> SequencePositions:
    return position_ids(parse_variant(text).position, segments)


def bounds(segments: list[Segment]) -> list[tuple[Segment, slice]]:
    starts = np.cumsum([0, *[segment.length for segment in segments]])
    return [(each, slice(starts[i], starts[i + 1])) for i, each in enumerate(segments)]


@pytest.mark.parametrize("text", DESIGNS)
@checked
@given(lengths=st.lists(st.integers(1, 20), max_size=4))
def test_text_alone_is_counted(text: str, lengths: list[int]) -> None:
    found = place(text, [TextRun(length) for length in lengths])
    np.testing.assert_array_equal(found.ids, np.arange(sum(lengths)) * found.step[:, None])
    np.testing.assert_array_equal(found.next_position, sum(lengths) * found.step)
    assert found.p_next == sum(lengths)


@pytest.mark.parametrize("text", DESIGNS)
@checked
@given(segments=rows)
def test_text_takes_whole_steps_and_never_goes_back(text: str, segments: list[Segment]) -> None:
    found = place(text, segments)
    groups = len(found.step)
    assert found.ids.shape == (groups, sum(segment.length for segment in segments))
    last = np.full(groups, -1.0)
    for segment, where in bounds(segments):
        if isinstance(segment, TextRun):
            run = found.ids[:, where]
            np.testing.assert_allclose(
                np.diff(run, axis=1), np.broadcast_to(found.step[:, None], run.shape)[:, 1:]
            )
            assert (run[found.step > 0, 0] > last[found.step > 0]).all()
            assert (run[found.step == 0] == 0).all()
            last = run[:, -1]
    assert (found.next_position[found.step > 0] > last[found.step > 0]).all()


@pytest.mark.parametrize("text", ABOVE)
@checked
@given(segments=rows)
def test_what_comes_next_lies_above_what_came_before(text: str, segments: list[Segment]) -> None:
    """A later text token never shares a time with a visual token, nor lies below one on any axis."""
    found = place(text, segments)
    time = found.next_position[0]
    assert found.ids[:3].max(initial=-1) < time + 1e-9
    for segment, where in bounds(segments):
        if isinstance(segment, TextRun):
            assert found.ids[:3, : where.start].max(initial=-1) < found.ids[0, where.start] + 1e-9


@pytest.mark.parametrize("text", APART)
@checked
@given(segments=rows)
def test_no_two_tokens_of_a_block_share_a_place(text: str, segments: list[Segment]) -> None:
    found = place(text, segments)
    for _, where in bounds(segments):
        block = found.ids[:3, where].round(9)
        assert len(np.unique(block, axis=1).T) == block.shape[1]


@pytest.mark.parametrize("text", DESIGNS)
@checked
@given(first=rows, second=rows)
def test_rows_chain(text: str, first: list[Segment], second: list[Segment]) -> None:
    """The positions of a prefix don't depend on what follows it."""
    whole, prefix = place(text, first + second), place(text, first)
    np.testing.assert_array_equal(whole.ids[:, : prefix.ids.shape[1]], prefix.ids)
    if second and isinstance(second[0], TextRun):
        np.testing.assert_array_equal(whole.ids[:, prefix.ids.shape[1]], prefix.next_position)


@pytest.mark.parametrize("text", [each for each in DESIGNS if "lumos" not in each])
@checked
@given(block=blocks, before=st.integers(0, 9), between=st.integers(1, 9))
def test_equal_blocks_get_equal_relative_positions(
    text: str, block: VisualBlock, before: int, between: int
) -> None:
    segments = [TextRun(before), block, TextRun(between), block]
    found = place(text, segments)
    first, second = (found.ids[:, where] for segment, where in bounds(segments) if segment is block)
    moved = (second - first)[:3]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :1], moved.shape), atol=1e-9)


@pytest.mark.parametrize("text", ["mrope-i", "mhrope", "il-rope", "omni-rope", "mrope-i(temporal_stride=2)"])
@checked
@given(block=blocks, before=st.integers(0, 500))
def test_spatial_reset_makes_rows_and_columns_independent_of_the_text_before(
    text: str, block: VisualBlock, before: int
) -> None:
    _, h, w = place(text, [TextRun(before), block]).ids[:, before:]
    _, rows_, columns = np.meshgrid(*[np.arange(size) for size in block.grid], indexing="ij")
    np.testing.assert_array_equal(h[block.token_indices()], rows_)
    np.testing.assert_array_equal(w[block.token_indices()], columns)


@checked
@given(h=st.integers(1, 4), w=st.integers(1, 4), rows_=st.integers(1, 3), columns=st.integers(1, 3))
def test_tiles_are_a_reordering_of_the_same_places(h: int, w: int, rows_: int, columns: int) -> None:
    grid = (1, h * rows_, w * columns)
    plain, tiles = VisualBlock(grid), VisualBlock(grid, tile=(rows_, columns))
    assert sorted(tiles.token_indices().ravel().tolist()) == list(range(plain.length))
    there = place("mrope-i", [plain]).ids[:, plain.token_indices().ravel()]
    np.testing.assert_array_equal(place("mrope-i", [tiles]).ids[:, tiles.token_indices().ravel()], there)
    np.testing.assert_array_equal(place("vanilla", [tiles]).ids, place("vanilla", [plain]).ids)


def test_absolute_time_may_put_two_frames_in_one_place() -> None:
    """The floor is Qwen2.5-VL's own: two frames less than half a second apart share a time."""
    found = place("mrope", [VisualBlock((4, 1, 1), seconds_per_grid=0.25)])
    assert found.ids[0].tolist() == [0, 0, 1, 1]
    assert found.p_next == 2


@checked
@given(segments=rows, stride=st.sampled_from([0.5, 0.75, 1.5]))
def test_fractions_are_kept(segments: list[Segment], stride: float) -> None:
    """The unified repository cuts them to whole numbers (while its deltas keep them)."""
    found = place(f"mrope-i(temporal_stride={stride})", segments)
    frames = [segment.grid[0] for segment in segments if isinstance(segment, VisualBlock)]
    fractions = any(stride * t % 1 for count in frames for t in range(count))
    assert found.ids.dtype == (np.float64 if fractions else np.int64)
    for segment, where in bounds(segments):
        if isinstance(segment, VisualBlock):
            times = found.ids[0, where][segment.token_indices()][:, 0, 0]
            np.testing.assert_array_equal(times - times[0], stride * np.arange(segment.grid[0]))


def test_small_steps_are_exact_far_into_a_sequence() -> None:
    """Sums of steps drift, and float32 can't tell 70000 + 1/256 from 70000."""
    found = place("v2pe(step=0.00390625)", [TextRun(70001), VisualBlock((1, 16, 16)), TextRun(1)])
    assert found.ids[0, 70001:70257].tolist() == [70000 + (k + 1) / 256 for k in range(256)]
    assert found.ids[0, -1] == 70002


def test_the_text_after_a_long_video_lies_above_its_time() -> None:
    """transformers 5.3 to 5.24 begin it at ``b + max(H, W)``, inside the video."""
    segments = [TextRun(5), VisualBlock((64, 2, 2), seconds_per_grid=1.0), TextRun(1)]
    found = place("mrope", segments)
    assert found.ids[:, -1].tolist() == [5 + 2 * 63 + 1] * 3
    assert found.p_next == 5 + 2 * 63 + 2
    official = place("mrope(compat=hf5)", segments)
    assert official.ids[:, -1].tolist() == [5 + 2] * 3
    assert official.p_next == 5 + 2 * 63 + 1


def test_seconds_are_cut_on_request_only() -> None:
    segments = [VisualBlock((4, 1, 1), seconds_per_grid=1.5)]
    assert place("mrope", segments).ids[0].tolist() == [0, 3, 6, 9]
    assert place("mrope(compat=int_seconds)", segments).ids[0].tolist() == [0, 2, 4, 6]


def test_alternating_layers_have_a_next_position_of_their_own() -> None:
    """The official AGE keeps the ring's delta for both kinds of layers."""
    segments = [TextRun(3), VisualBlock((1, 4, 6)), TextRun(2)]
    both = place("circlerope(age=odd)", segments)
    assert both.ids.shape == (6, 29)
    np.testing.assert_array_equal(both.ids[:3], place("circlerope", segments).ids)
    np.testing.assert_array_equal(both.ids[3:], place("mrope", segments).ids)
    assert both.next_position[3] == place("mrope", segments).p_next
    design = parse_variant("circlerope(age=odd)").position
    assert design.layer_groups(5)[1] == (0, 1, 0, 1, 0)
    assert parse_variant("circlerope(age=second_half)").position.layer_groups(4)[1] == (0, 0, 1, 1)
    assert parse_variant("circlerope(age=first_half)").position.layer_groups(4)[1] == (1, 1, 0, 0)


@checked
@given(h=st.integers(2, 8), w=st.integers(2, 8), before=st.integers(0, 50))
def test_a_ring_is_equally_far_from_every_text_token(h: int, w: int, before: int) -> None:
    """CircleRoPE's promise: the distance in the three axes is the same for all tokens of an image."""
    ring = place("circlerope", [TextRun(before), VisualBlock((1, h, w))]).ids[:, before:]
    for text in (-3.0, 0.0, before + 40.0):
        distances = np.linalg.norm(ring - text, axis=0)
        np.testing.assert_allclose(distances, distances[0])


@checked
@given(h=st.integers(1, 7), w=st.integers(1, 7), t=st.integers(1, 4), before=st.integers(0, 50))
def test_diagonal_frames_are_centred_on_the_line_of_text(h: int, w: int, t: int, before: int) -> None:
    block = VisualBlock((t, h, w), 1.0)
    ids = place("videorope", [TextRun(before), block]).ids[:, before:][:, block.token_indices()]
    for frame in range(t):
        assert ids[:, frame, (h - 1) // 2, (w - 1) // 2].tolist() == [before + 2 * frame] * 3


ALLOCATIONS = st.tuples(st.integers(0, 40), st.integers(1, 40), st.integers(1, 40))


@checked
@given(counts=ALLOCATIONS)
@pytest.mark.parametrize("name", ["chunk", "interleave", "videorope"])
def test_channel_allocations_give_every_axis_its_number(name: str, counts: tuple[int, int, int]) -> None:
    part = f"{name}({','.join(map(str, counts))})"
    axes = parse_variant(f"position=grid,frequency={part}").frequency.axis_map(sum(counts), 4)
    assert [int((axes == axis).sum()) for axis in range(3)] == list(counts)


@checked
@given(counts=ALLOCATIONS, spare=st.integers(0, 5))
def test_head_allocations_give_every_axis_its_number(counts: tuple[int, int, int], spare: int) -> None:
    heads = sum(counts) + spare
    if heads < 3:
        return
    part = f"heads({','.join(map(str, counts))})"
    axes = parse_variant(f"position=reset,frequency={part}").frequency.axis_map(8, heads)
    assert (axes == axes[:, :1]).all()
    assert [int((axes[:, 0] == axis).sum()) for axis in (0, 1, 2, -1)] == [*counts, spare]
