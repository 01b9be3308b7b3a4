from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.data.sampling import FrameRule, sample_frames

RULE = FrameRule()


def constant(count: int, fps: float) -> list[float]:
    return [number / fps for number in range(count)]


@given(count=st.integers(1, 20_000), fps=st.floats(1, 120))
def test_a_constant_rate_is_sampled_as_qwen_vl_utils_does(count: int, fps: float) -> None:
    chosen = sample_frames(constant(count, fps), RULE)
    wanted = math.floor(count / fps * 2 + 1e-6)
    bounded = min(max(wanted, 4), 768, count) // 2 * 2
    expected = max(bounded, min(count, 2))
    assert len(chosen.indices) == expected
    gap = (count - 1) / max(expected - 1, 1)
    assert all(abs(index - gap * place) <= 0.5 for place, index in enumerate(chosen.indices))


@given(gaps=st.lists(st.floats(0.001, 2.0), min_size=1, max_size=400))
def test_any_timing_gives_ascending_frames_within_the_limits(gaps: list[float]) -> None:
    times = [0.0]
    for gap in gaps:
        times.append(times[-1] + gap)
    chosen = sample_frames(times, RULE)
    assert len(chosen.indices) <= 768
    assert len(chosen.indices) % 2 == 0
    assert all(a <= b for a, b in pairwise(chosen.indices))
    assert chosen.indices[0] == 0
    assert chosen.indices[-1] == len(times) - 1
    assert chosen.timestamps == tuple(times[index] for index in chosen.indices)


def test_two_frames_a_second() -> None:
    chosen = sample_frames(constant(300, 30), RULE)
    assert len(chosen.indices) == 20
    assert chosen.fps == pytest.approx(2.0)


def test_long_videos_are_uniform() -> None:
    chosen = sample_frames(constant(30 * 3600, 30), RULE)
    assert len(chosen.indices) == 768
    assert chosen.fps == pytest.approx(768 / 3600)


def test_a_clip_takes_its_frames_only() -> None:
    chosen = sample_frames(constant(300, 30), RULE, start=2.0, end=5.0)
    assert chosen.timestamps[0] == 2.0
    assert chosen.timestamps[-1] == 5.0
    assert len(chosen.indices) == 6


def test_a_varying_rate_is_sampled_by_time() -> None:
    times = [number * 0.04 for number in range(100)] + [4 + number for number in range(20)]
    chosen = sample_frames(times, RULE)
    late = sum(time >= 4 for time in chosen.timestamps)
    assert late > len(chosen.indices) / 2  # most of the time, though few of the frames


def test_an_empty_clip_is_an_error() -> None:
    with pytest.raises(ValueError, match="no frame between"):
        sample_frames(constant(10, 10), RULE, start=5.0)


def test_one_frame_is_enough() -> None:
    assert sample_frames([0.0], RULE).indices == (0,)
