"""The vision tower of the Qwen families: from patches to features, for batches of images and frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from evalkit.core.types import VisionInput
from evalkit.inference.async_copies import to_device
from evalkit.inference.attention import vision_attention
from evalkit.inference.memory import max_patches_per_call
from evalkit.inference.normalisation import Normalisations, normalised
from evalkit.inference.vision_features import Features

Piece = tuple[int, int, int]
"""A medium's number, and which of its temporal steps: from, up to."""

WARMUP_GRIDS = ((1, 6, 10), (1, 6, 14))
"""Two show the compiler that numbers of patches vary."""


def encode(
    model: Any, media: Sequence[VisionInput], normalise: Normalisations, *, frames_apart: bool = False
) -> list[Features]:
    """See :class:`evalkit.inference.vision_features.Encode`; ``frames_apart``: the tower is called with a
    grid for every frame.
    """
    tower = model.model.visual
    parts: list[list[Features]] = [[] for _ in media]
    for run in _runs(media, max_patches_per_call(model.device)):
        grids = torch.tensor([(end - begin, *media[number].grid[1:]) for number, begin, end in run])
        steps = [(media[number], _frames(media[number], begin, end)) for number, begin, end in run]
        pixels = normalised(steps, normalise, model.device)
        output = run_tower(tower, pixels.to(tower.dtype), _by_frame(grids) if frames_apart else grids)
        sizes = (grids.prod(dim=1) // tower.spatial_merge_size**2).tolist()
        layers = [output.pooler_output, *getattr(output, "deepstack_features", ())]
        for (number, _, _), *cut in zip(run, *(layer.split(sizes) for layer in layers), strict=True):
            parts[number].append(Features(cut[0], tuple(cut[1:])))
    return [_whole(each) for each in parts]


def run_tower(tower: Any, patches: Tensor, grids: Tensor) -> Any:
    """Output of a Qwen tower for ``patches`` in ``grids [n, 3]`` (on the CPU)."""
    given = {"grid_thw": to_device(grids, patches.device)} | _derived(tower, grids, patches.device)
    with vision_attention(tower) as attention_kwargs, _embedding_by_product(tower.patch_embed):
        return tower(patches, **given, **attention_kwargs)


def _by_frame(grids: Tensor) -> Tensor:
    sizes = grids[:, 1:].repeat_interleave(grids[:, 0], dim=0)
    return torch.cat([sizes.new_ones(len(sizes), 1), sizes], dim=1)


def _derived(tower: Any, grids: Tensor, device: torch.device) -> dict[str, Any]:
    """What a tower derives from grids, computed by transformers' own functions on the CPU and passed as
    arguments: inside the tower, each would wait for the GPU.
    """
    from transformers import vision_utils as made

    merge, ends = tower.spatial_merge_size, made.get_vision_cu_seqlens(grids)
    found = {"position_ids": made.get_vision_position_ids(grids, merge), "cu_seqlens": ends}
    longest = {"max_seqlen": int(ends.diff().max())}
    if hasattr(tower, "window_size"):
        index, ends = made.get_vision_window_index(grids, merge, tower.window_size, tower.patch_size)
        found |= {"window_index": index, "cu_window_seqlens": ends}
        longest["max_window_seqlen"] = int(ends.diff().max())
    if hasattr(tower, "num_grid_per_side"):
        places, weights = made.get_vision_interpolation_indices_and_weights(
            grids,
            tower.num_grid_per_side,
            tower.interpolation_mode,
            tower.interpolation_align_corners,
            merge,
        )
        found |= {"interp_indices": places, "interp_weights": weights}
    return {name: to_device(each, device) for name, each in found.items()} | longest


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
    deepstack = zip(*(each.deepstack for each in parts), strict=True)
    return Features(
        torch.cat([each.tokens for each in parts]), tuple(torch.cat(layer) for layer in deepstack)
    )


def _runs(media: Sequence[VisionInput], patches: int) -> Iterator[list[Piece]]:
    """All temporal steps of all media, in batches of about ``patches`` for one call of the tower each. Frames
    don't attend to each other in the tower, so a video may be cut anywhere.
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


def compile_tower(model: Any) -> None:
    """Compile the blocks of a model's vision tower for any number of patches."""
    tower = model.model.visual
    for block in tower.blocks:
        block.compile(dynamic=True)
    config = model.config.vision_config
    width = config.in_channels * config.temporal_patch_size * config.patch_size**2
    for grid in WARMUP_GRIDS:
        size = torch.tensor([grid])
        run_tower(tower, torch.zeros(int(size.prod()), width, dtype=tower.dtype, device=model.device), size)
