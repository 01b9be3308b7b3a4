"""InternVL: images in tiles with a thumbnail after them, a tile for every frame of a video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.rope.hf.layouts import TokenLayout
from evalkit.rope.layout import Segment, TextRun, VisualBlock, runs

if TYPE_CHECKING:
    from torch import Tensor


def tile_side(config: Any) -> int:
    """Side of a tile in tokens."""
    vision = config.vision_config
    return int(first(vision.image_size) // first(vision.patch_size) * config.downsample_ratio)


def first(size: Any) -> int:
    """A size that is written as a number or as two equal ones."""
    return int(size[0] if isinstance(size, (list, tuple)) else size)


def batch_segments(
    config: Any, input_ids: Tensor, attention_mask: Tensor | None, inputs: Mapping[str, Any]
) -> list[list[Segment]]:
    """See :class:`~evalkit.rope.hf.layouts.TokenLayout`. Every tile, thumbnail and frame is a block: how the
    tiles of an image are arranged is not among the model's inputs.
    """
    side = tile_side(config)
    ids = input_ids.cpu().numpy()
    kept = np.ones(ids.shape, bool) if attention_mask is None else attention_mask.bool().cpu().numpy()
    return [_row_segments(ids[row, kept[row]] == config.image_token_id, side) for row in range(len(ids))]


def describes_media(inputs: Mapping[str, Any]) -> bool:
    """See :class:`~evalkit.rope.hf.layouts.TokenLayout`: the tokens themselves say it all."""
    return True


def _row_segments(visual: np.ndarray, side: int) -> list[Segment]:
    segments: list[Segment] = []
    for kind, length in runs(visual.astype(np.int64)):
        if kind == 0:
            segments.append(TextRun(length))
            continue
        tiles, left = divmod(length, side * side)
        if left:
            raise ValueError(f"a run of {length} visual tokens is no multiple of {side} x {side}")
        segments += [VisualBlock((1, side, side))] * tiles
    return segments


LAYOUT = TokenLayout(batch_segments, describes_media, axes=1)
