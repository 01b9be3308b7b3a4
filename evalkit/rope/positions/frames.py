"""One position per frame: the temporal half of TAD-RoPE."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.rope.layout import VisualBlock
from evalkit.rope.positions import BlockPositions, Cursor, PositionDesign, grid_indices


@dataclass(frozen=True)
class Frames(PositionDesign):
    """All tokens of frame ``t`` stand at ``b + t`` on every axis; text goes on at ``b + T``.

    ``get_time_rope_index`` of Wiselnn570/VideoRoPE@7712ca3, which gives it to one half of the model.
    """

    name = "frames"

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        t, _, _ = grid_indices(block)
        line = at.start + t
        return BlockPositions((line, line, line), at.start + block.grid[0])
