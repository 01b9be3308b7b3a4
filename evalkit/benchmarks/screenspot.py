"""ScreenSpot's rows: boxes in pixels, and the platform that a screenshot is from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evalkit.data.images import embedded_size

Row = Mapping[str, Any]

# An edge may lie a little outside.
_SLACK = 0.1
_PLATFORMS = {"ios": "mobile", "android": "mobile", "macos": "desktop", "windows": "desktop"}


def in_pixels(row: Row) -> Iterator[Row]:
    """The row with ``box`` in pixels of the screenshot (the repository gives shares of its size) and
    ``size``; without an image that can be read, the sample fails when it is decoded.

    Raises:
        ValueError: the box is not within the screenshot, such as one in pixels.
    """
    size = embedded_size(row["image"])
    width, height = size or (1, 1)
    x1, y1, x2, y2 = row["bbox"]
    if not all(-_SLACK <= edge <= 1 + _SLACK for edge in row["bbox"]):
        raise ValueError(f"its box {row['bbox']} is not in shares of the screenshot's size, from 0 to 1")
    yield {**row, "size": size, "box": [x1 * width, y1 * height, x2 * width, y2 * height]}


def platform(row: Row) -> str:
    """``mobile``, ``desktop`` or ``web`` (web sites are named by what they are).

    >>> platform({"data_source": "android"}), platform({"data_source": "gitlab"})
    ('mobile', 'web')
    """
    return _PLATFORMS.get(row["data_source"], "web")
