"""LLaVA-OneVision: a base image and a mosaic of tiles with a newline token per row; pooled frames.

Sizes are ``(height, width)`` in pixels, as in transformers' ``image_sizes``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.rope.hf.layouts import TokenLayout
from evalkit.rope.layout import Grid, Segment, TextRun, VisualBlock, runs

if TYPE_CHECKING:
    from torch import Tensor

Size = tuple[int, int]


@dataclass(frozen=True)
class Anyres:
    """How images are cut into tiles.

    ``canvases``: sizes in pixels that an image may be fitted into, ``tile`` the side of a tile in
    pixels, ``side`` in tokens; a mosaic of more than about ``max_tiles`` tiles is shrunk.
    """

    canvases: tuple[Size, ...]
    tile: int
    side: int
    max_tiles: int

    @classmethod
    def of(cls, config: Any) -> Anyres:
        """From a model's configuration."""
        vision = config.vision_config
        canvases = tuple((int(h), int(w)) for h, w in config.image_grid_pinpoints)
        most = int(str(config.vision_aspect_ratio).removeprefix("anyres_max_"))
        return cls(canvases, vision.image_size, vision.image_size // vision.patch_size, most)

    @property
    def frame_side(self) -> int:
        """Side of a video frame in tokens."""
        return math.ceil(self.side / 2)

    def canvas(self, size: Size) -> Size:
        """The canvas that shows most of an image's pixels and, of equal ones, wastes fewest."""
        height, width = size

        def merit(canvas: Size) -> tuple[int, int]:
            scale = min(canvas[1] / width, canvas[0] / height)
            shown = min(int(width * scale) * int(height * scale), width * height)
            return shown, shown - canvas[0] * canvas[1]

        return max(self.canvases, key=merit)

    def fitted(self, size: Size) -> Size:
        """The size of an image in its canvas, before padding."""
        height, width = size
        canvas_height, canvas_width = self.canvas(size)
        if canvas_width / width < canvas_height / height:
            return min(math.ceil(height * canvas_width / width), canvas_height), canvas_width
        return canvas_height, min(math.ceil(width * canvas_height / height), canvas_width)

    def unpadded_grid(self, size: Size) -> Grid:
        """The mosaic's tokens: the padding is cut off, and every row ends in a newline token."""
        rows, columns = (length // self.tile * self.side for length in self.canvas(size))
        height, width = size
        if width / height > columns / rows:
            wanted = int(round(height * (columns / width), 7))
            rows -= (rows - wanted) // 2 * 2
        else:
            wanted = int(round(width * (rows / height), 7))
            columns -= (columns - wanted) // 2 * 2
        ratio = math.sqrt(rows * columns / (self.max_tiles * self.side**2))
        if ratio > 1.1:
            rows, columns = int(rows // ratio), int(columns // ratio)
        return 1, rows, columns + 1

    def blocks(self, size: Size) -> tuple[Grid, ...]:
        """The blocks of an image that stands alone in its prompt."""
        return (1, self.side, self.side), self.unpadded_grid(size)


def batch_segments(
    config: Any, input_ids: Tensor, attention_mask: Tensor | None, inputs: Mapping[str, Any]
) -> list[list[Segment]]:
    """See :class:`~evalkit.rope.hf.layouts.TokenLayout`.

    Images that share a prompt are one block each, and a newline token that is placed like text.
    """
    anyres = Anyres.of(config)
    images = _images(anyres, inputs)
    videos = inputs.get("pixel_values_videos")
    frames = None if videos is None else int(videos.shape[1])
    ids = input_ids.cpu().numpy()
    kept = np.ones(ids.shape, bool) if attention_mask is None else attention_mask.bool().cpu().numpy()
    return [_row_segments(config, anyres, ids[row, kept[row]], images, frames) for row in range(len(ids))]


def describes_media(inputs: Mapping[str, Any]) -> bool:
    """See :class:`~evalkit.rope.hf.layouts.TokenLayout`."""
    return inputs.get("image_sizes") is not None or inputs.get("pixel_values_videos") is not None


def _images(anyres: Anyres, inputs: Mapping[str, Any]) -> Iterator[list[Segment]]:
    sizes = inputs.get("image_sizes")
    listed = [] if sizes is None else [(int(h), int(w)) for h, w in sizes]
    together = inputs.get("batch_num_images")
    counts = [1] * len(listed) if together is None else [int(n) for n in together for _ in range(int(n))]
    for size, count in zip(listed, counts, strict=True):
        if count == 1:
            yield [VisualBlock(grid) for grid in anyres.blocks(size)]
        else:
            yield [VisualBlock((1, anyres.side, anyres.side)), TextRun(1)]


def _row_segments(
    config: Any, anyres: Anyres, ids: np.ndarray, images: Iterator[list[Segment]], frames: int | None
) -> list[Segment]:
    kinds = np.where(ids == config.image_token_id, 1, np.where(ids == config.video_token_id, 2, 0))
    segments: list[Segment] = []
    for kind, length in runs(kinds):
        if kind == 0:
            segments.append(TextRun(length))
            continue
        left = length
        while left > 0:
            found = next(images, None) if kind == 1 else _video(anyres, left, frames)
            if found is None:
                raise ValueError(f"{left} image tokens are left over after the last of `image_sizes`")
            segments += found
            left -= sum(each.length for each in found)
        if left:
            raise ValueError(f"a run of {length} visual tokens doesn't fit the sizes of its media")
    return segments


def _video(anyres: Anyres, tokens: int, frames: int | None) -> list[Segment]:
    """All frames as one block, and the newline token at their end as text."""
    steps = frames if frames is not None else (tokens - 1) // anyres.frame_side**2
    return [VisualBlock((steps, anyres.frame_side, anyres.frame_side)), TextRun(1)]


LAYOUT = TokenLayout(batch_segments, describes_media, axes=1)
