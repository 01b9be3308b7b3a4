"""MM-RoPE as Lumos-1's own code has it: text is never compressed, all blocks share one origin."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.rope.layout import VisualBlock
from evalkit.rope.positions import BlockPositions, Cursor, grid_indices
from evalkit.rope.positions.scaled import ScaledGrid


@dataclass(frozen=True)
class Lumos(ScaledGrid):
    """Token ``(t, h, w)`` stands at ``b1 + scale * (t + f, h, w)``; text at its index in the sequence.

    ``b1`` is the index of the sequence's first visual token and ``f`` the number of frames before
    the block (alibaba-damo-academy/Lumos@f7c9cd2; that frames count on over several blocks is our
    reading: it was run on one block only).
    """

    name = "lumos"
    scale: tuple[float, float, float] = (4.0, 8.0, 8.0)

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        t, h, w = grid_indices(block)
        time, height, width = self.scale
        return BlockPositions(
            (at.first + time * (t + at.frames), at.first + height * h, at.first + width * w),
            at.start + block.length,
        )
