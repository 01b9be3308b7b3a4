"""Square tiles: from pictures to bytes, and from bytes to normalised pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evalkit.types import VisionInput

if TYPE_CHECKING:
    import torch

    from evalkit.models.generation import DecodingRules

TILES = 64
"""Tiles or frames shown to the vision tower at a time, if they are several media."""

Bytes = npt.NDArray[np.uint8]


def cut(picture: Bytes, side: int) -> Bytes:
    """Cut ``[H, W, 3]`` into tiles ``[n, 3, side, side]``, row by row."""
    height, width, _ = picture.shape
    cut_up = picture.reshape(height // side, side, width // side, side, 3)
    return cut_up.transpose(0, 2, 4, 1, 3).reshape(-1, 3, side, side)


def runs(media: Sequence[VisionInput]) -> Iterator[list[VisionInput]]:
    """Media in their order, a call's worth at a time."""
    run: list[VisionInput] = []
    for each in media:
        if run and sum(len(other.patches) for other in run) + len(each.patches) > TILES:
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def pixels(tiles: Sequence[Bytes], rules: DecodingRules, device: torch.device) -> torch.Tensor:
    """Tiles ``[n, 3, side, side]`` of several media, one after the other and normalised."""
    import torch

    from evalkit.models.transfer import sent

    values = sent(torch.from_numpy(np.concatenate(list(tiles))), device).float()
    mean, std = (sent(torch.tensor(each) * 255, device).view(1, 3, 1, 1) for each in (rules.mean, rules.std))
    return (values - mean) / std
