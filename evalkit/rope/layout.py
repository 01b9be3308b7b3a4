"""A sequence as position designs get it: runs of text and visual blocks, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Grid = tuple[int, int, int]

TEXT, IMAGE, VIDEO = 0, 1, 2


@dataclass(frozen=True)
class TextRun:
    """``length`` consecutive text tokens; the vision start and end tokens are text too."""

    length: int


@dataclass(frozen=True)
class VisualBlock:
    """The tokens of one image, one tile of it, one video or one frame of it.

    ``grid`` is ``(T, H, W)`` in language-model tokens, after the vision tower's merging.
    ``seconds_per_grid``: seconds between two temporal steps of a video; None for an image.
    ``tile``: tokens come tile after tile, each of ``(rows, columns)`` tokens in raster order, tiles
    in raster order too; None means plain raster order (time slowest, width fastest).
    """

    grid: Grid
    seconds_per_grid: float | None = None
    tile: tuple[int, int] | None = None

    @property
    def length(self) -> int:
        """Number of tokens."""
        t, h, w = self.grid
        return t * h * w

    def token_indices(self) -> npt.NDArray[np.int64]:
        """Index of the token at every place of the grid, ``[T, H, W]``."""
        t, h, w = self.grid
        indices = np.arange(self.length, dtype=np.int64)
        if self.tile is None:
            return indices.reshape(self.grid)
        rows, columns = self.tile
        tiled = indices.reshape(t, h // rows, w // columns, rows, columns)
        return tiled.transpose(0, 1, 3, 2, 4).reshape(self.grid)


Segment = TextRun | VisualBlock


def segments_from_types(
    token_types: Sequence[int] | npt.NDArray[np.integer],
    grids: Sequence[Grid],
    merge: int,
    seconds: Sequence[float | None] | None = None,
) -> list[Segment]:
    """Split one unpadded sequence into segments.

    Args:
        token_types: 0 text, 1 image, 2 video, one per token.
        grids: ``(t, h, w)`` in patches, before merging, in order of appearance.
        merge: the vision tower's spatial merge size.
        seconds: seconds per temporal grid step, one per grid; images' entries are ignored. A video
            without an entry counts as 1.0, Qwen's own default.

    Raises:
        ValueError: grids and token types don't agree.

    >>> segments_from_types([0, 1, 1, 1, 1, 1, 1, 0], [(1, 2, 4), (1, 4, 4)], merge=2)
    [TextRun(length=1), VisualBlock(grid=(1, 1, 2), seconds_per_grid=None, tile=None), \
VisualBlock(grid=(1, 2, 2), seconds_per_grid=None, tile=None), TextRun(length=1)]
    """
    spacing = seconds if seconds is not None else [None] * len(grids)
    in_order = iter(zip(grids, spacing, strict=True))
    segments = read_segments(token_types, {IMAGE: in_order, VIDEO: in_order}, merge)
    left = sum(1 for _ in in_order)
    if left:
        raise ValueError(f"{left} of {len(grids)} grids have no visual tokens in the sequence")
    return segments


def read_segments(
    token_types: Sequence[int] | npt.NDArray[np.integer],
    media: Mapping[int, Iterator[tuple[Grid, float | None]]],
    merge: int,
) -> list[Segment]:
    """Split one sequence, taking each block's ``(grid, seconds)`` from the iterator of its kind.

    A run of visual tokens may hold several touching blocks: it is cut by the sizes of the grids.
    The iterators are consumed, so that the sequences of a batch can share them.
    """
    segments: list[Segment] = []
    for kind, length in runs(token_types):
        if kind == TEXT:
            segments.append(TextRun(length))
        else:
            segments.extend(_cut(length, kind, media[kind], merge))
    return segments


def runs(values: Sequence[int] | npt.NDArray[np.integer]) -> Iterator[tuple[int, int]]:
    """Value and length of every maximal run of equal values.

    >>> list(runs([0, 0, 1, 0]))
    [(0, 2), (1, 1), (0, 1)]
    """
    array = np.asarray(values)
    if array.size:
        bounds = np.concatenate(([0], np.flatnonzero(array[1:] != array[:-1]) + 1, [array.size]))
        yield from zip(array[bounds[:-1]].tolist(), np.diff(bounds).tolist(), strict=True)


def _cut(
    length: int, kind: int, media: Iterator[tuple[Grid, float | None]], merge: int
) -> Iterator[VisualBlock]:
    while length > 0:
        try:
            (t, h, w), seconds = next(media)
        except StopIteration:
            raise ValueError(f"{length} visual tokens are left over after the last grid") from None
        spacing = (1.0 if seconds is None else float(seconds)) if kind == VIDEO else None
        block = VisualBlock((int(t), int(h) // merge, int(w) // merge), spacing)
        length -= block.length
        if length < 0 or block.length == 0:
            raise ValueError(f"grid {(t, h, w)} does not fit its run of visual tokens")
        yield block
