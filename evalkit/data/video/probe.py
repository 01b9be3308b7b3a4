"""How many frames a video has and when each is shown, from its packets: no frame but the first is decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from evalkit.data.formats import MOST_PIXELS, open_video
from evalkit.data.video.errors import damaged

# How much of a header's promise may be missing before a file counts as cut short. Matroska headers speak of
# the longest stream, rounded; AVI headers also count frames that the encoder dropped.
_SLACK_SECONDS = 0.5
_SLACK_SHARE = 0.02

MOST_FRAMES = 3_000_000
"""Frames of a film: 13 hours at 60 a second."""


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


@dataclass
class _Packets:
    """What one pass over the packets of the main video stream found; their bytes are not kept.

    ``times``: presentation times of the frames to be shown. ``count`` includes packets that are
    decoded but not shown. ``end``: when the last packet of any stream that was read ends, seconds.
    """

    times: list[float]
    count: int = 0
    end: float = 0.0
    stamped: bool = True


def probe(path: str) -> VideoInfo:
    """Count and time the frames of a file's main video stream.

    Raises:
        MediaError: it can't be opened, ends before its header says, or none of its frames can be
            decoded.
    """
    with opened(path) as (container, stream):
        packets = _scan(path, container, stream)
        _check_whole(path, container, stream, packets)
        times = _times(path, container, stream, packets)
        name = container.format.name
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
    return VideoInfo(moments, width, height, times[0], packets.stamped, name)


@contextmanager
def opened(path: str) -> Iterator[tuple[Any, Any]]:
    """The container and its main video stream; FFmpeg's errors become evalkit's."""
    import av

    # Titles in another encoding than UTF-8 are common in old files, and nobody reads them here; PyAV 19 takes
    # them without a word.
    lenient = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}
    try:
        with open_video(path, **lenient) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise damaged(path, "it has no video stream")
            stream.thread_type = "AUTO"
            _limit_pixels(path, stream)
            yield container, stream
    except (av.FFmpegError, OSError) as error:
        raise damaged(path, getattr(error, "strerror", None) or str(error)) from None


def _limit_pixels(path: str, stream: Any) -> None:
    """Refuse a film of frames that are too large, by its header, and have the decoder refuse later ones."""
    codec = stream.codec_context
    if codec.width * codec.height > MOST_PIXELS:
        size = f"{codec.width} x {codec.height} pixels"
        raise damaged(path, f"its frames have {size}; at most {MOST_PIXELS // 10**6} megapixels are decoded")
    codec.options = {"max_pixels": str(MOST_PIXELS)}


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames in presentation order; a packet that can't be decoded costs its own frame only."""
    import av

    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        yield from frames


def _scan(path: str, container: Any, stream: Any) -> _Packets:
    """Read every packet once."""
    found = _Packets([])
    # A Matroska header states the length of the longest stream, which may be the sound.
    streams = () if "matroska" in container.format.name else (stream,)
    for packet in container.demux(*streams):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None:
            found.end = max(found.end, float((time + (packet.duration or 0)) * packet.time_base))
        if packet.stream is not stream or not packet.size:
            continue
        found.count += 1
        if found.count > MOST_FRAMES:
            raise damaged(path, f"it has more than {MOST_FRAMES} frames")
        if packet.is_discard or _hidden(stream, packet):
            continue
        if packet.pts is None:
            found.stamped = False
        found.times.append(float((time or 0) * packet.time_base))
    return found


def _hidden(stream: Any, packet: Any) -> bool:
    """Whether a packet is one of VP8's frames that are only referred to (RFC 6386, section 9.1)."""
    return stream.codec_context.name == "vp8" and not memoryview(packet)[0] >> 4 & 1


def _check_whole(path: str, container: Any, stream: Any, found: _Packets) -> None:
    """Refuse a file that was cut short: what is left would pass for the whole video.

    Containers without a promise (transport streams, live recordings) can't be checked.
    """
    name, seconds = container.format.name, (container.duration or 0) / 1e6
    if name.startswith("mov"):
        size, index = os.path.getsize(path), stream.index_entries
        lost = sum(entry.pos + entry.size > size for entry in index)
        if lost:
            raise damaged(
                path, f"its index promises {len(index)} frames, and the file ends before {lost} of them"
            )
    elif name == "avi" and found.count < (1 - _SLACK_SHARE) * stream.frames:
        raise damaged(
            path, f"its header promises {stream.frames} frames, and the file ends after {found.count}"
        )
    elif "matroska" in name and found.end < (1 - _SLACK_SHARE) * seconds - _SLACK_SECONDS:
        raise damaged(
            path, f"its header promises {seconds:.1f} seconds, and the file ends after {found.end:.1f}"
        )


def _times(path: str, container: Any, stream: Any, found: _Packets) -> list[float]:
    """Presentation times of all frames, ascending: the file's own, or made from a constant rate."""
    # AVI stores no presentation times, and those that FFmpeg makes up can contradict the order in which
    # frames come out; the order and a constant rate are all that there is.
    found.stamped = found.stamped and container.format.name != "avi"
    if found.stamped:
        return sorted(found.times)
    if not stream.average_rate:
        raise damaged(path, "it states neither the times of its frames nor their rate")
    return [number / float(stream.average_rate) for number in range(len(found.times))]
