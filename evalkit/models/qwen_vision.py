"""What the Qwen families share: from patches to features, whole batches of images and frames at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from evalkit.models.attention import vision_attention
from evalkit.models.features import Features
from evalkit.models.generation import DecodingRules
from evalkit.models.memory import patches_at_once
from evalkit.types import VisionInput

Piece = tuple[int, int, int]
"""A medium's number, and which of its temporal steps: from, up to."""


def encode(model: Any, media: Sequence[VisionInput], rules: DecodingRules) -> list[Features]:
    """See :class:`evalkit.models.vision.Encode`."""
    tower = model.model.visual
    parts: list[list[Features]] = [[] for _ in media]
    for run in _runs(media, patches_at_once(model.device)):
        grids = torch.tensor([(end - begin, *media[number].grid[1:]) for number, begin, end in run])
        pixels = _pixels(
            [_frames(media[number], begin, end) for number, begin, end in run], rules, model.device
        )
        with vision_attention(tower) as handed, _embedding_by_product(tower.patch_embed):
            output = tower(pixels.to(tower.dtype), grid_thw=grids.to(model.device), **handed)
        sizes = (grids.prod(dim=1) // tower.spatial_merge_size**2).tolist()
        layers = [output.pooler_output, *getattr(output, "deepstack_features", ())]
        for (number, _, _), *cut in zip(run, *(layer.split(sizes) for layer in layers), strict=True):
            parts[number].append(Features(cut[0], tuple(cut[1:])))
    return [_whole(each) for each in parts]


class _Product(nn.Module):
    """A convolution over whole patches as the matrix product that it is: several times as fast."""

    def __init__(self, convolution: Any) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, patches: Tensor) -> Tensor:
        return linear(patches.flatten(1), self.weight.flatten(1), self.bias)


@contextmanager
def _embedding_by_product(layer: Any) -> Iterator[None]:
    own = layer.proj
    layer.proj = _Product(own)
    try:
        yield
    finally:
        layer.proj = own


def _whole(parts: Sequence[Features]) -> Features:
    if len(parts) == 1:
        return parts[0]
    deep = zip(*(each.deep for each in parts), strict=True)
    return Features(torch.cat([each.tokens for each in parts]), tuple(torch.cat(layer) for layer in deep))


def _runs(media: Sequence[VisionInput], patches: int) -> Iterator[list[Piece]]:
    """All temporal steps of all media, a call's worth of ``patches`` at a time. Frames don't see each other
    in the tower, so a video may be cut anywhere.
    """
    run: list[Piece] = []
    room = patches
    for number, each in enumerate(media):
        steps, height, width = each.grid
        begin = 0
        while begin < steps:
            end = min(steps, begin + room // (height * width))
            if end == begin and run:
                yield run
                run, room = [], patches
                continue
            end = max(end, begin + 1)
            run.append((number, begin, end))
            room -= (end - begin) * height * width
            begin = end
    if run:
        yield run


def _frames(medium: VisionInput, begin: int, end: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    size = medium.grid[1] * medium.grid[2]
    return medium.patches[begin * size : end * size]


def _pixels(
    patches: Sequence[np.ndarray[Any, np.dtype[np.uint8]]], rules: DecodingRules, device: torch.device
) -> Tensor:
    """Normalised patches ``[n, channels * ...]`` of all media, one after the other.

    Bytes travel to the device; the arithmetic there is that of transformers' fast image processor.
    """
    pixels = torch.cat([torch.from_numpy(each).to(device) for each in patches]).float()
    pixels = pixels.view(len(pixels), 3, -1)
    mean, std = (
        torch.tensor(values, device=device).view(1, 3, 1) * 255 for values in (rules.mean, rules.std)
    )
    return pixels.sub_(mean).div_(std).view(len(pixels), -1)
