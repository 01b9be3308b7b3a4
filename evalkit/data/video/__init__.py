"""Video readers: PyAV, decord and torchcodec decode the same frames, which one probe counts and times.

Every reader decodes forward from the first frame. Seeking is faster for a clip late in a video, but what
comes out past a keyframe depends on the stream and the decoder: in tests, all three gave other pictures
or none for some files (open GOPs, intra refresh, old x264 in 4:4:4).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from evalkit.core.errors import UsageError, did_you_mean
from evalkit.data.video.probe import VideoInfo, probe

__all__ = ["BACKENDS", "VideoInfo", "VideoReader", "open_reader", "probe"]

BACKENDS = ("pyav", "decord", "torchcodec")


class VideoReader(Protocol):
    """A decoder. It is told which frames; counts and times come from :func:`probe` for all of them."""

    def read(self, path: str, known: VideoInfo, indices: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the frames at ``indices`` (ascending; repeats allowed), upright RGB uint8
        ``[height, width, 3]``, one at a time: a long video is never in memory whole.

        Raises:
            MediaError: a frame can't be decoded, or the decoder counts frames otherwise.
        """
        ...


def open_reader(backend: str = "pyav") -> VideoReader:
    """The reader of a name in ``BACKENDS``.

    Raises:
        UsageError: no backend of that name.
        EnvironmentProblem: its package isn't installed, or can't be loaded.
    """
    if backend not in BACKENDS:
        raise UsageError(
            f"unknown video backend `{backend}`",
            f"known: {', '.join(BACKENDS)}.{did_you_mean(backend, BACKENDS)}",
            "use one of them",
        )
    reader: VideoReader = importlib.import_module(f"evalkit.data.video.{backend}").Reader()
    return reader
