"""What the Qwen families share: placeholders in the chat, and patches as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evalkit.models.generation import DecodingRules
from evalkit.types import Prepared, VisionInput


def media_inputs(
    model: Any, batch: Sequence[Prepared], inputs: dict[str, Tensor], rules: DecodingRules
) -> dict[str, Tensor]:
    """Patches and grids of all images and all videos of a batch, in order of appearance."""
    media = [medium for item in batch for medium in item.vision]
    images = [medium for medium in media if medium.kind == "image"]
    videos = [medium for medium in media if medium.kind == "video"]
    added: dict[str, Tensor] = {}
    if images:
        added["pixel_values"], added["image_grid_thw"] = _pixels(images, rules, model.device)
    if videos:
        added["pixel_values_videos"], added["video_grid_thw"] = _pixels(videos, rules, model.device)
    return added


def _pixels(
    media: Sequence[VisionInput], rules: DecodingRules, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Normalised patches of all media, one after the other, and their grids.

    Bytes travel to the device; the arithmetic there is that of transformers' fast image processor.
    """
    patches = torch.from_numpy(np.concatenate([medium.patches for medium in media])).to(device)
    pixels = patches.float().view(len(patches), 3, -1)
    mean, std = (
        torch.tensor(values, device=device).view(1, 3, 1) * 255 for values in (rules.mean, rules.std)
    )
    grids = torch.tensor([medium.grid for medium in media], device=device)
    return ((pixels - mean) / std).view(len(patches), -1), grids
