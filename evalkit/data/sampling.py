"""Frame sampling: a pure function of timestamps and a rule.

Readers never choose frames; they are told which. So backends differ in speed and never in which
frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class FrameRule:
    """The paper's protocol: 2 frames a second, at most 768, uniform above that (arXiv 2510.23095,
    section 3.1); the number is a multiple of the tower's temporal patch, and at least 4, as in
    ``qwen-vl-utils``.
    """

    fps: float = 2.0
    max_frames: int = 768
    min_frames: int = 4
    multiple: int = 2

    def at_most(self, frames: int) -> FrameRule:
        """The same rule with a lower limit, at least one frame."""
        most = max(1, min(self.max_frames, frames))
        return replace(self, max_frames=most, min_frames=min(self.min_frames, most))


@dataclass(frozen=True)
class SampledFrames:
    """The chosen frames: indices in presentation order, their times in seconds, and how many
    frames a second of the clip they are.
    """

    indices: tuple[int, ...]
    timestamps: tuple[float, ...]
    fps: float


def sample_frames(
    timestamps: Sequence[float], rule: FrameRule, start: float | None = None, end: float | None = None
) -> SampledFrames:
    """Choose frames evenly over a video, or over its clip from ``start`` to ``end`` seconds.

    Args:
        timestamps: presentation times of all frames, ascending, in seconds.
        rule: how many frames.
        start: first second of the clip.
        end: last second of the clip.

    Raises:
        ValueError: the clip has no frame.
    """
    times = np.asarray(timestamps, np.float64)
    inside = np.ones(len(times), bool)
    if start is not None:
        inside &= times >= start - 1e-6
    if end is not None:
        inside &= times <= end + 1e-6
    candidates = np.flatnonzero(inside)
    if not len(candidates):
        raise ValueError(f"it has no frame between {start} and {end} seconds")
    clip = times[candidates]
    duration = _duration(clip)
    count = _count(duration, len(candidates), rule)
    chosen = candidates[_spread(clip, count)]
    fps = count / duration if duration > 0 else rule.fps
    return SampledFrames(
        tuple(int(each) for each in chosen), tuple(float(each) for each in times[chosen]), fps
    )


def expected_count(duration: float, available: int, rule: FrameRule) -> int:
    """How many frames :func:`sample_frames` takes from a clip of so many seconds and frames."""
    return _count(duration, available, rule)


def _duration(clip: np.ndarray) -> float:
    """Seconds that the frames are shown; the last one as long as the average."""
    if len(clip) < 2:
        return 0.0
    return float(clip[-1] - clip[0]) * len(clip) / (len(clip) - 1)


def _count(duration: float, available: int, rule: FrameRule) -> int:
    # A frame more or less must not hang on the last bit of a duration.
    wanted = math.floor(duration * rule.fps + 1e-6)
    bounded = min(max(wanted, rule.min_frames), rule.max_frames, available)
    return max(bounded // rule.multiple * rule.multiple, min(available, rule.multiple))


def _spread(clip: np.ndarray, count: int) -> np.ndarray:
    """Places of ``count`` frames spread evenly, by index where the frame rate is constant (as in
    ``qwen-vl-utils``), by time where it isn't.
    """
    by_index = np.rint(np.linspace(0, len(clip) - 1, count)).astype(int)
    gaps = np.diff(clip)
    # Containers round times to a millisecond or so.
    if len(gaps) == 0 or gaps.max() - gaps.min() <= max(0.1 * float(np.median(gaps)), 2e-3):
        return by_index
    wanted = np.linspace(clip[0], clip[-1], count)
    right = np.clip(np.searchsorted(clip, wanted), 1, len(clip) - 1)
    nearer_left = wanted - clip[right - 1] <= clip[right] - wanted
    return np.where(nearer_left, right - 1, right)
