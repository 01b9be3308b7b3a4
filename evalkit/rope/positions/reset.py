"""Spatial reset: rows and columns of every block count from zero (MRoPE-I and MHRoPE)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.rope.layout import VisualBlock
from evalkit.rope.parameters import require_positive
from evalkit.rope.positions import Coordinates
from evalkit.rope.positions.grid import raster


@dataclass(frozen=True)
class SpatialReset:
    """Token ``(t, h, w)`` sits at ``(b + temporal_stride * t, h, w)`` (arXiv 2510.23095).

    Text goes on above the block's extent on any axis, at ``b + max(temporal_stride * (T - 1), H - 1,
    W - 1) + 1``. ``spatial_reset=False`` is the paper's ablation: ``h`` and ``w`` count from ``b``.
    """

    spatial_reset: bool = True
    temporal_stride: float = 1.0

    def __post_init__(self) -> None:
        require_positive("temporal_stride", self.temporal_stride)

    def place(self, block: VisualBlock, start: float) -> tuple[Coordinates, float]:
        """See :class:`~evalkit.rope.positions.PositionDesign`."""
        frames, rows, columns = block.grid
        t, h, w = raster(block, self.temporal_stride * np.arange(float(frames)))
        origin = 0.0 if self.spatial_reset else start
        following = start + max(self.temporal_stride * (frames - 1), rows - 1, columns - 1) + 1
        return np.stack([start + t, origin + h, origin + w]), following
