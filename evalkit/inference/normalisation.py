"""Pixel normalisation: bytes rescaled and normalised by colour channel, on the model's device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evalkit.core.types import MediaKind, VisionInput

if TYPE_CHECKING:
    import torch

Channels = tuple[float, float, float]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Normalisation:
    """``(byte / levels - mean) / std`` for each colour channel."""

    mean: Channels
    std: Channels
    levels: float = 255.0


Normalisations = Mapping[MediaKind, Normalisation]
"""By kind of media: images and videos have processors of their own."""


def normalised(
    pieces: Sequence[tuple[VisionInput, Bytes]], by_kind: Normalisations, device: torch.device
) -> torch.Tensor:
    """Pixels ``[n, 3, ...]`` or ``[n, 3 * ...]`` of media, concatenated, normalised, in float32.

    Bytes are copied to the device, where the arithmetic is that of transformers' torchvision processors.
    """
    import torch

    runs = groupby(pieces, key=lambda piece: by_kind[piece[0].kind])
    found = [_as_floats([part for _, part in run], rule, device) for rule, run in runs]
    return found[0] if len(found) == 1 else torch.cat(found)


def _as_floats(parts: Sequence[Bytes], rule: Normalisation, device: torch.device) -> torch.Tensor:
    import torch

    from evalkit.inference.async_copies import to_device

    pixels = torch.cat([to_device(torch.from_numpy(part), device) for part in parts]).float()
    channels = pixels.view(len(pixels), 3, -1)
    mean, std = (
        to_device(torch.tensor(values) * rule.levels, device).view(1, 3, 1)
        for values in (rule.mean, rule.std)
    )
    return channels.sub_(mean).div_(std).view(pixels.shape)
