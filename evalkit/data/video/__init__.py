"""Video readers: one interface, three backends, the same frames."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from evalkit.errors import UsageError, did_you_mean

BACKENDS = ("pyav", "decord", "torchcodec")


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video without decoding its pixels; the size is that of upright frames.

    ``timestamps``: seconds from the first frame, one per frame, in presentation order.
    """

    timestamps: tuple[float, ...]
    width: int
    height: int


class VideoReader(Protocol):
    """A backend. Errors are ``MediaError``, or ``EnvironmentProblem`` if it isn't installed."""

    def probe(self, path: str) -> VideoInfo:
        """Count and time the frames of the file's main video stream."""
        ...

    def read(self, path: str, indices: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the frames at ``indices`` (ascending; repeats allowed), upright RGB uint8
        ``[height, width, 3]``, one at a time: a long film is never in memory whole.
        """
        ...


def open_reader(backend: str = "pyav") -> VideoReader:
    """The reader of a name in ``BACKENDS``.

    Raises:
        UsageError: no backend of that name.
    """
    if backend not in BACKENDS:
        raise UsageError(
            f"unknown video backend `{backend}`",
            f"known: {', '.join(BACKENDS)}.{did_you_mean(backend, BACKENDS)}",
            "use one of them",
        )
    reader: VideoReader = importlib.import_module(f"evalkit.data.video.{backend}").Reader()
    return reader
