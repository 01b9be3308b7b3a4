"""Spatial reset: rows and columns of every block count from zero (MRoPE-I and MHRoPE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evalkit.rope.layout import VisualBlock
from evalkit.rope.parameters import require_positive
from evalkit.rope.positions import BlockPositions, Cursor, PositionDesign, grid_indices


@dataclass(frozen=True)
class SpatialReset(PositionDesign):
    """Token ``(t, h, w)`` stands at ``(b + temporal_stride * t, h, w)`` (arXiv 2510.23095).

    Text goes on above the block's extent on any axis, at ``b + max(temporal_stride * (T - 1), H - 1,
    W - 1) + 1``. ``spatial_reset=False`` is the paper's ablation: ``h`` and ``w`` count from ``b``.
    ``text="zero"`` is its "text spatial-reset": a text token at ``p`` stands at ``(p, 0, 0)``, as the
    paper describes IL-RoPE and Omni-RoPE (figure 1e); generated tokens too.
    """

    name = "reset"
    spatial_reset: bool = True
    temporal_stride: float = 1.0
    text: Literal["copy", "zero"] = "copy"

    def __post_init__(self) -> None:
        require_positive("temporal_stride", self.temporal_stride)

    @property
    def text_step(self) -> tuple[float, ...]:
        return (1.0, 1.0, 1.0) if self.text == "copy" else (1.0, 0.0, 0.0)

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        frames, rows, columns = block.grid
        t, h, w = grid_indices(block)
        origin = 0.0 if self.spatial_reset else at.start
        next_position = at.start + max(self.temporal_stride * (frames - 1), rows - 1, columns - 1) + 1
        return BlockPositions((at.start + self.temporal_stride * t, origin + h, origin + w), next_position)
