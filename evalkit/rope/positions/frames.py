"""One position per frame: `tad_rope` of VideoRoPE's code."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.rope.layout import VisualBlock
from evalkit.rope.positions import BlockPositions, Cursor, PositionDesign, grid_indices


@dataclass(frozen=True)
class Frames(PositionDesign):
    """All tokens of frame ``t`` stand at ``b + t`` on every axis; text goes on at ``b + T``.

    ``get_time_rope_index`` of Wiselnn570/VideoRoPE@309f5c8 (``modeling_videorope.py``), which its authors
    compare VideoRoPE with as ``tad_rope``.
    """

    name = "frames"

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        t, _, _ = grid_indices(block)
        line = at.start + t
        return BlockPositions((line, line, line), at.start + block.grid[0])
