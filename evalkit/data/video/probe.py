"""How many frames a video has and when each is shown, from its packets: no pixel is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from evalkit.data.video.errors import damaged

# Codecs whose packets needn't be frames (VP8 stores invisible reference frames): counted by decoding.
_HIDDEN_FRAMES = ("vp8",)


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before it is read; the size is that of upright frames.

    ``timestamps``: seconds from the first frame, one per frame, in presentation order. ``start``:
    the first frame's time in the file's own clock. ``stamped``: whether frames carry their time;
    if not, only their order is known, and the rate is taken to be constant.
    """

    timestamps: tuple[float, ...]
    width: int
    height: int
    start: float = 0.0
    stamped: bool = True


def probe(path: str) -> VideoInfo:
    """Count and time the frames of a file's main video stream.

    Raises:
        MediaError: it can't be opened, or none of its frames can be decoded.
    """
    with opened(path) as (container, stream):
        times, stamped = _times(container, stream)
    if not times:
        raise damaged(path, "it has no frames")
    with opened(path) as (container, stream):
        first = next(decoded(container, stream), None)
        if first is None:
            raise damaged(path, "none of its frames can be decoded")
        width, height = first.width, first.height
        if first.rotation % 180:
            width, height = height, width
    return VideoInfo(tuple(time - times[0] for time in times), width, height, times[0], stamped)


def check_count(path: str, backend: str, counted: int, known: VideoInfo) -> None:
    """Frames are asked for by their place: a decoder that counts otherwise would show other frames."""
    if counted != len(known.timestamps):
        raise damaged(
            path, f"{backend} counts {counted} frames in it, and its packets make {len(known.timestamps)}"
        )


@contextmanager
def opened(path: str) -> Iterator[tuple[Any, Any]]:
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


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames in presentation order; a packet that can't be decoded costs its own frame only."""
    import av

    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        yield from frames


def _times(container: Any, stream: Any) -> tuple[list[float], bool]:
    """Presentation times of all frames, ascending, and whether they are the file's own."""
    if stream.codec_context.name in _HIDDEN_FRAMES:
        return [frame.time for frame in decoded(container, stream)], True
    packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
    if container.format.name != "avi" and all(packet.pts is not None for packet in packets):
        return sorted(float(packet.pts * packet.time_base) for packet in packets), True
    # AVI stores no presentation times, and those that FFmpeg makes up can contradict the order in which
    # frames come out; the order and a constant rate are all that there is.
    return [number / float(stream.average_rate) for number in range(len(packets))], False
