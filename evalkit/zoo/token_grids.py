"""Token grids: pictures of the mini-suite as arrays of cell kinds, and their pixels.

A cell is as large as one visual token of Qwen2.5-VL (two by two patches of 14 pixels): the tiny models have
to relate tokens by their positions, not to resolve fine print. A token grid is an integer array of cell kinds
(0 is a blank cell), ``[rows, columns]`` for an image and ``[seconds, rows, columns]`` for a clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

TokenGrid = npt.NDArray[np.int64]

CELL = 28
LETTERS = "ABCDEFGHJKLMNPRT"
DIGITS = "123456789"
COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "red": (220, 40, 40),
        "green": (40, 160, 60),
        "blue": (40, 80, 220),
        "yellow": (230, 200, 40),
        "purple": (140, 60, 180),
        "black": (30, 30, 30),
    }
)
NAMES = tuple(COLOURS)
CELL_KINDS = 1 + len(LETTERS) + len(DIGITS) + len(COLOURS)


def glyph(character: str) -> int:
    """The cell kind of a letter or a digit.

    >>> glyph("A"), glyph("1")
    (1, 17)
    """
    return 1 + (LETTERS + DIGITS).index(character)


def colour(name: str) -> int:
    """The cell kind of a colour.

    >>> colour("red")
    26
    """
    return 1 + len(LETTERS) + len(DIGITS) + NAMES.index(name)


@cache
def cell_images() -> npt.NDArray[np.uint8]:
    """Pixels of every cell kind, uint8 ``[CELL_KINDS, 28, 28, 3]``; read-only, drawn once."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=26)
    out = np.full((CELL_KINDS, CELL, CELL, 3), 255, np.uint8)
    for character in LETTERS + DIGITS:
        cell = Image.new("RGB", (CELL, CELL), "white")
        ImageDraw.Draw(cell).text((CELL / 2, CELL / 2), character, fill="black", font=font, anchor="mm")
        out[glyph(character)] = np.asarray(cell)
    for name, rgb in COLOURS.items():
        out[colour(name)] = rgb
    out.flags.writeable = False
    return out


def pixels(token_grid: TokenGrid) -> npt.NDArray[np.uint8]:
    """Draw a token grid: uint8 ``[..., 28 * rows, 28 * columns, 3]``.

    >>> pixels(np.zeros((2, 3), np.int64)).shape
    (56, 84, 3)
    """
    *steps, rows, columns = token_grid.shape
    cells = np.moveaxis(cell_images()[token_grid], -4, -3)
    return np.ascontiguousarray(cells).reshape(*steps, rows * CELL, columns * CELL, 3)
