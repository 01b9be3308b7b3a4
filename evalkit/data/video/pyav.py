"""PyAV, the default decoder: FFmpeg is inside the wheel."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.data.video.errors import lost_frame
from evalkit.data.video.probe import VideoInfo, decoded, opened


class Reader:
    """Reads forward in one pass, and only what is wanted leaves the decoder as pixels."""

    def read(self, path: str, known: VideoInfo, indices: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
        """See :class:`evalkit.data.video.VideoReader`."""
        times = known.timestamps
        pending, tolerance = deque(indices), _tolerance(times)
        with opened(path) as (container, stream):
            for number, frame in enumerate(decoded(container, stream)):
                # Frames are found by their time; without one, by their place.
                time = frame.time - known.start if known.stamped else times[min(number, len(times) - 1)]
                while pending and abs(time - times[pending[0]]) <= tolerance:
                    pending.popleft()
                    yield _upright(frame)
                if not pending:
                    return
                if time > times[pending[0]] + tolerance:
                    break
        raise lost_frame(path, pending[0], len(times))


def _tolerance(times: Sequence[float]) -> float:
    """Half the shortest distance between frames: nearer than this is the same frame."""
    gaps = np.diff(np.asarray(times))
    positive = gaps[gaps > 0]
    return float(positive.min()) / 2 if len(positive) else 0.5


def _upright(frame: Any) -> npt.NDArray[np.uint8]:
    pixels: npt.NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90)) if frame.rotation else pixels
