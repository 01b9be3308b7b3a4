"""One-dimensional positions: visual tokens are numbered like text (vanilla RoPE)."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.rope.layout import VisualBlock
from evalkit.rope.positions import BlockPositions, Cursor, PositionDesign


@dataclass(frozen=True)
class Sequential(PositionDesign):
    """Token ``k`` of a block stands at ``b + k`` on every axis; text goes on at ``b + N``."""

    name = "sequential"

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        line = block.token_indices() + at.start
        return BlockPositions((line, line, line), at.start + block.length)
