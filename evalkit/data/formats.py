"""Opens images and videos in an allow-list of formats, none of which leads to another file.

Pillow would hand PostScript to Ghostscript; FFmpeg follows playlists, and opens what a URL names.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from evalkit.data.regular_files import check_regular

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 100_000_000
"""Pixels of an image or of a film's frame that are decoded: with a copy in RGB, about a gigabyte."""

IMAGES = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of formats."""

CONTAINERS = (
    "3gp,apng,asf,av1,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,"
    "mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,vc1,webm,yuv4mpegpipe"
)
"""FFmpeg's names of demuxers that read one file and no other, as its option takes them."""


def open_image(file: BinaryIO) -> Image.Image:
    """Open an image and read its header; formats outside of ``IMAGES`` are unknown."""
    from PIL import Image

    return Image.open(file, formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    """The formats that this build of Pillow has."""
    from PIL import Image

    Image.init()
    return tuple(name for name in IMAGES if name in Image.OPEN)


def open_video(path: str, **options: Any) -> Any:
    """PyAV's container of a regular file in one of ``CONTAINERS``.

    Raises:
        OSError: it can't be read, or is no regular file; PyAV's errors are of this kind, too.
    """
    import av

    check_regular(path)
    limits = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    return av.open(plain_file_path(path), options=limits, **options)


def plain_file_path(path: str) -> str:
    """A path that FFmpeg takes for nothing else, such as a URL or a list of files.

    >>> plain_file_path("/films/concat:a|b")
    '/films/concat:a|b'
    """
    return os.path.join(os.getcwd(), path)  # not normalised: `..` after a link leads elsewhere
