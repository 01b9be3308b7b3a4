"""Folders of numbered frames, remuxed into a video file without encoding anew.

Some data sets hold a clip as the JPEG files of its frames. The files are put one after another, byte
for byte, into an MP4 container at the stated rate, so that every reader decodes the very pictures of
the data set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from evalkit.core.atomic_files import atomic_path
from evalkit.data.formats import MOST_PIXELS

_CODECS = {".jpg": "mjpeg", ".jpeg": "mjpeg", ".png": "png"}


_DEMUXERS = {"mjpeg": "jpeg_pipe", "png": "png_pipe"}
_LIMITS = {"protocol_whitelist": "file"}


def frame_files(folder: Path) -> list[Path]:
    """The images of a folder sorted by name, only those of the most common suffix."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _CODECS)
    suffixes = [path.suffix.lower() for path in found]
    return [path for path in found if path.suffix.lower() == max(suffixes, key=suffixes.count)]


def as_video(folder: Path, rate: float, cache: Path) -> Path | None:
    """The video file made of a folder's images, once, in ``cache``.

    ``rate``: pictures a second. None where there is no such folder, no picture in it, the first can't be
    read, or one is no regular file.

    Raises:
        OSError: the cache can't be written.
    """
    import av

    files = frame_files(folder) if folder.is_dir() else []
    if not files or odd_file(files):
        return None
    name = hashlib.sha256(f"{rate}|{_facts(files)}".encode("utf-8", "surrogateescape")).hexdigest()
    target = cache / name[:2] / f"{name}.mp4"
    if not target.is_file():
        try:
            with atomic_path(target, durable=False) as place:
                _mux(files, Fraction(rate).limit_denominator(1001), str(place))
        except (av.error.InvalidDataError, av.error.ArgumentError, StopIteration):
            return None
    return target


def odd_file(files: Iterable[Path]) -> Path | None:
    """The first file that is not a regular one (a FIFO would never end), or None."""
    return next((path for path in files if not path.is_file()), None)


def _facts(files: list[Path]) -> str:
    facts = [(path, path.stat()) for path in files]
    # The time of the last change can't be set back, as that of the contents is by what copies a file with it.
    return "|".join(
        f"{path}:{each.st_size}:{each.st_mtime_ns}:{each.st_ctime_ns}:{each.st_ino}" for path, each in facts
    )


def _mux(files: list[Path], rate: Fraction, target: str) -> None:
    """Put encoded pictures into a container, one frame each. No picture is decoded but the first."""
    import av

    with av.open(target, "w", options={"fflags": "+bitexact"}) as container:
        codec = _CODECS[files[0].suffix.lower()]
        stream: Any = container.add_stream(codec, rate=rate)
        # Said by name: by the file's, FFmpeg would take its number for a pattern and read those beside it.
        with av.open(str(files[0].absolute()), format=_DEMUXERS[codec], options=_LIMITS) as first:
            first.streams.video[0].codec_context.options = {"max_pixels": str(MOST_PIXELS)}
            frame = next(first.decode(video=0))
            stream.width, stream.height = frame.width, frame.height
            stream.pix_fmt = frame.format.name
        stream.time_base = 1 / rate
        for number, path in enumerate(files):
            packet = av.Packet(path.read_bytes())
            packet.stream = stream
            packet.pts = packet.dts = number
            packet.duration = 1
            packet.time_base = 1 / rate
            packet.is_keyframe = True
            container.mux(packet)
