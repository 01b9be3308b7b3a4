"""How many frames a video has and when each is shown, from its packets: no frame but the first is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from evalkit.data.video.errors import damaged
from evalkit.data.video.whole import shortfall


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before it is read; the size is that of upright frames.

    ``timestamps``: seconds from the first frame, one per frame, in presentation order. ``start``:
    the first frame's time in the file's own clock. ``stamped``: whether frames carry their time;
    if not, only their order is known, and the rate is taken to be constant. ``container``: FFmpeg's
    name of the format.
    """

    timestamps: tuple[float, ...]
    width: int
    height: int
    start: float = 0.0
    stamped: bool = True
    container: str = ""


def probe(path: str) -> VideoInfo:
    """Count and time the frames of a file's main video stream.

    Raises:
        MediaError: it can't be opened, ends before its header says, or none of its frames can be
            decoded.
    """
    with opened(path) as (container, stream):
        name = container.format.name
        times, stamped = _times(path, container, stream)
        lack = shortfall(path, name, stream)
    if lack:
        raise damaged(path, lack)
    if not times:
        raise damaged(path, "it has no frames")
    with opened(path) as (container, stream):
        first = next(decoded(container, stream), None)
        if first is None:
            raise damaged(path, "none of its frames can be decoded")
        width, height = first.width, first.height
        if first.rotation % 180:
            width, height = height, width
    moments = tuple(time - times[0] for time in times)
    return VideoInfo(moments, width, height, times[0], stamped, name)


@contextmanager
def opened(path: str) -> Iterator[tuple[Any, Any]]:
    """The container and its main video stream; FFmpeg's errors become evalkit's."""
    import av

    try:
        # Titles in another encoding than UTF-8 are common in old files, and nobody reads them here.
        with av.open(path, metadata_errors="ignore") as container:
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


def _times(path: str, container: Any, stream: Any) -> tuple[list[float], bool]:
    """Presentation times of all frames, ascending, and whether they are the file's own."""
    stamps = []
    for packet in container.demux(stream):  # one at a time: a list of them would hold the whole file
        if packet.size and not packet.is_discard and not _hidden(stream, packet):
            stamps.append(None if packet.pts is None else float(packet.pts * packet.time_base))
    known = [stamp for stamp in stamps if stamp is not None]
    if container.format.name != "avi" and len(known) == len(stamps):
        return sorted(known), True
    # AVI stores no presentation times, and those that FFmpeg makes up can contradict the order in which
    # frames come out; the order and a constant rate are all that there is.
    if not stream.average_rate:
        raise damaged(path, "it states neither the times of its frames nor their rate")
    return [number / float(stream.average_rate) for number in range(len(stamps))], False


def _hidden(stream: Any, packet: Any) -> bool:
    """Whether a packet is one of VP8's frames that are only referred to (RFC 6386, section 9.1)."""
    return stream.codec_context.name == "vp8" and not memoryview(packet)[0] >> 4 & 1
