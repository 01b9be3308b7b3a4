"""Diagonal layout: frames centred on the line of text (VideoRoPE, HoPE)."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.rope.layout import VisualBlock
from evalkit.rope.parameters import require_positive
from evalkit.rope.positions import BlockPositions, Cursor, PositionDesign, grid_indices


@dataclass(frozen=True)
class Diagonal(PositionDesign):
    """Token ``(t, h, w)`` stands at ``(s, s + h - (H-1)//2, s + w - (W-1)//2)``, ``s = b + stride * t``.

    Text goes on after the last frame on the *time* axis alone, at ``b + stride * (T - 1) + 1``: an
    image of any size advances it by one, so that text re-uses rows and columns of the image
    (arXiv 2502.05173). HoPE calls the stride gamma and draws it at random in training; at inference
    it is what it is set to (arXiv 2505.20444).
    """

    name = "diagonal"
    temporal_stride: float = 1.0

    def __post_init__(self) -> None:
        require_positive("temporal_stride", self.temporal_stride)

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        frames, rows, columns = block.grid
        t, h, w = grid_indices(block)
        line = at.start + self.temporal_stride * t
        next_position = at.start + self.temporal_stride * (frames - 1) + 1
        height, width = line + h - (rows - 1) // 2, line + w - (columns - 1) // 2
        return BlockPositions((line, height, width), next_position)
