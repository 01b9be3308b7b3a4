"""Layouts of models that are called with grids: ``image_grid_thw [n, 3]`` and ``video_grid_thw [n, 3]``, in
patches, in order of appearance (Qwen2-VL's convention in transformers, which many families follow).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evalkit.rope.hf.layouts import TokenLayout
from evalkit.rope.layout import IMAGE, VIDEO, Grid, Segment, read_segments

if TYPE_CHECKING:
    from torch import Tensor

Media = Iterator[tuple[Grid, float | None]]


def batch_segments(
    config: Any, input_ids: Tensor, attention_mask: Tensor | None, inputs: Mapping[str, Any]
) -> list[list[Segment]]:
    """See :class:`~evalkit.rope.hf.layouts.TokenLayout`."""
    seconds = inputs.get("second_per_grid_ts")
    videos = _grids(inputs, "video")
    spacing = [None] * len(videos) if seconds is None else [float(each) for each in seconds]
    return _batch_segments(config, input_ids, attention_mask, inputs, zip(videos, spacing, strict=True))


def batch_segments_by_frame(
    config: Any, input_ids: Tensor, attention_mask: Tensor | None, inputs: Mapping[str, Any]
) -> list[list[Segment]]:
    """See :class:`~evalkit.rope.hf.layouts.TokenLayout`; the timestamps between frames are text."""
    frames = [((1, h, w), None) for t, h, w in _grids(inputs, "video") for _ in range(t)]
    return _batch_segments(config, input_ids, attention_mask, inputs, iter(frames))


def describes_media(inputs: Mapping[str, Any]) -> bool:
    """See :class:`~evalkit.rope.hf.layouts.TokenLayout`."""
    return any(inputs.get(f"{kind}_grid_thw") is not None for kind in ("image", "video"))


def _batch_segments(
    config: Any, input_ids: Tensor, mask: Tensor | None, inputs: Mapping[str, Any], videos: Media
) -> list[list[Segment]]:
    images: Media = iter([(grid, None) for grid in _grids(inputs, "image")])
    media = {IMAGE: images, VIDEO: videos}
    merge = config.vision_config.spatial_merge_size
    types = _token_types(config, input_ids, inputs)
    kept = np.ones(types.shape, bool) if mask is None else mask.bool().cpu().numpy()
    unpadded = [row if there.all() else row[there] for row, there in zip(types, kept, strict=True)]
    return [read_segments(row, media, merge) for row in unpadded]


def _token_types(config: Any, input_ids: Tensor, inputs: Mapping[str, Any]) -> npt.NDArray[np.integer]:
    given: Tensor | None = inputs.get("mm_token_type_ids")
    if given is not None:
        return given.cpu().numpy()
    ids = input_ids.cpu().numpy()
    start = getattr(config, "video_start_token_id", None)
    if start is not None:  # GLM-V: frames are images between a video's start and end
        within = (ids == start).cumsum(axis=1) > (ids == config.video_end_token_id).cumsum(axis=1)
        return np.where(ids == config.image_token_id, np.where(within, VIDEO, IMAGE), 0)
    return np.where(ids == config.image_token_id, IMAGE, np.where(ids == config.video_token_id, VIDEO, 0))


def _grids(inputs: Mapping[str, Any], kind: str) -> Sequence[Grid]:
    grids = inputs.get(f"{kind}_grid_thw")
    return [] if grids is None else [tuple(grid) for grid in grids.tolist()]


GRIDS = TokenLayout(batch_segments, describes_media)
"""A video is one block (Qwen2-VL)."""

GRIDS_BY_FRAME = TokenLayout(batch_segments_by_frame, describes_media)
"""Every frame of a video is a block of its own (Qwen3-VL)."""

GRIDS_BY_FRAME_ADJACENT = replace(GRIDS_BY_FRAME, pairs="adjacent")
"""The same, and neighbouring channels are rotated together (GLM-4.1V)."""
