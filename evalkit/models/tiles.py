"""Square tiles of images, for vision towers of one input size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from evalkit.core.types import VisionInput

MAX_TILES_PER_CALL = 64
"""Tiles or frames in one call of the vision tower; a single medium may have more."""

Bytes = npt.NDArray[np.uint8]


def split_tiles(picture: Bytes, side: int) -> Bytes:
    """Cut ``[H, W, 3]`` into tiles ``[n, 3, side, side]``, row by row."""
    height, width, _ = picture.shape
    cut_up = picture.reshape(height // side, side, width // side, side, 3)
    return cut_up.transpose(0, 2, 4, 1, 3).reshape(-1, 3, side, side)


def media_batches(
    media: Sequence[VisionInput], most: int = MAX_TILES_PER_CALL
) -> Iterator[list[VisionInput]]:
    """Media in order, in batches of at most ``most`` tiles, frames or patches; a larger medium alone."""
    run: list[VisionInput] = []
    for each in media:
        if run and sum(len(other.patches) for other in run) + len(each.patches) > most:
            yield run
            run = []
        run.append(each)
    if run:
        yield run
