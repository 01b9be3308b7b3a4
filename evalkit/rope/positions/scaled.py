"""A grid whose axes have strides of their own (MM-RoPE as JJJYmmm/Multimodal-RoPEs has it)."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.rope.layout import VisualBlock
from evalkit.rope.parameters import require_positive
from evalkit.rope.positions import BlockPositions, Cursor, PositionDesign, grid_indices


@dataclass(frozen=True)
class ScaledGrid(PositionDesign):
    """Token ``(t, h, w)`` stands at ``b + scale * (t, h, w)``; text goes on one above the largest.

    ``scale`` is 1 on every axis here and (4, 8, 8), the compression of its video tokenizer, in
    Lumos-1 (arXiv 2507.08801).
    """

    name = "scaled"
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        for value in self.scale:
            require_positive("scale", value)

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        scaled = zip(self.scale, grid_indices(block), strict=True)
        coordinates = tuple(at.start + scale * index for scale, index in scaled)
        largest = max(scale * (size - 1) for scale, size in zip(self.scale, block.grid, strict=True))
        return BlockPositions(coordinates, at.start + largest + 1)
