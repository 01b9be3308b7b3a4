"""PyAV, the default backend: FFmpeg is inside the wheel."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.data.video import VideoInfo
from evalkit.data.video.errors import damaged, lost_frame

# Codecs whose packets needn't be frames (VP8 stores invisible reference frames): counted by decoding.
_HIDDEN_FRAMES = ("vp8",)


class Reader:
    """Reads forward in one pass, from the keyframe before the first frame wanted."""

    def probe(self, path: str) -> VideoInfo:
        """See :class:`evalkit.data.video.VideoReader`."""
        with _opened(path) as (container, stream):
            clock = _clock(container, stream)
        if not clock.times:
            raise damaged(path, "it has no frames")
        with _opened(path) as (container, stream):
            first = next(_decoded(container, stream), None)
            if first is None:
                raise damaged(path, "none of its frames can be decoded")
            width, height = first.width, first.height
            if first.rotation % 180:
                width, height = height, width
        return VideoInfo(tuple(time - clock.times[0] for time in clock.times), width, height)

    def read(self, path: str, indices: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
        """See :class:`evalkit.data.video.VideoReader`."""
        with _opened(path) as (container, stream):
            clock = _clock(container, stream)
        with _opened(path) as (container, stream):
            yield from _frames(path, container, stream, clock, indices)


@dataclass(frozen=True)
class _Clock:
    """When each frame is shown, in the stream's own time, and whether frames carry that time."""

    times: list[float]
    stamped: bool


@contextmanager
def _opened(path: str) -> Iterator[tuple[Any, Any]]:
    """The container and its main video stream; FFmpeg's errors become evalkit's."""
    import av

    try:
        with av.open(path) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise damaged(path, "it has no video stream")
            stream.thread_type = "AUTO"
            yield container, stream
    except (av.FFmpegError, OSError) as error:
        raise damaged(path, getattr(error, "strerror", None) or str(error)) from None


def _clock(container: Any, stream: Any) -> _Clock:
    """Presentation times of all frames, ascending, from the packets: no pixel is decoded."""
    if stream.codec_context.name in _HIDDEN_FRAMES:
        return _Clock([frame.time for frame in _decoded(container, stream)], stamped=True)
    packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
    if container.format.name != "avi" and all(packet.pts is not None for packet in packets):
        return _Clock(sorted(float(packet.pts * packet.time_base) for packet in packets), stamped=True)
    # AVI stores no presentation times, and those that FFmpeg makes up can contradict the order in which
    # frames come out; the order and a constant rate are all that there is.
    return _Clock([number / float(stream.average_rate) for number in range(len(packets))], stamped=False)


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames in presentation order; a packet that can't be decoded costs its own frame only."""
    import av

    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        yield from frames


def _frames(
    path: str, container: Any, stream: Any, clock: _Clock, indices: Sequence[int]
) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode forward and hand out the frames that are wanted, found by their time."""
    if clock.stamped:
        container.seek(int(clock.times[indices[0]] / stream.time_base), stream=stream, backward=True)
    pending = deque(indices)
    tolerance = _tolerance(clock.times)
    for number, frame in enumerate(_decoded(container, stream)):
        time = frame.time if clock.stamped else clock.times[min(number, len(clock.times) - 1)]
        while pending and abs(time - clock.times[pending[0]]) <= tolerance:
            pending.popleft()
            yield _upright(frame)
        if not pending:
            return
        if time > clock.times[pending[0]] + tolerance:
            break
    raise lost_frame(path, pending[0], len(clock.times))


def _tolerance(times: Sequence[float]) -> float:
    """Half the shortest distance between frames: nearer than this is the same frame."""
    gaps = np.diff(np.asarray(times))
    positive = gaps[gaps > 0]
    return float(positive.min()) / 2 if len(positive) else 0.5


def _upright(frame: Any) -> npt.NDArray[np.uint8]:
    pixels: npt.NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90)) if frame.rotation else pixels
