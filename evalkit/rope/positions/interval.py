"""Modality interval: a grid, after which text goes on as far away as in vanilla RoPE (RoPE-Tie)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evalkit.rope.layout import VisualBlock
from evalkit.rope.parameters import require_positive
from evalkit.rope.positions import BlockPositions, Cursor, PositionDesign, grid_indices


@dataclass(frozen=True)
class Interval(PositionDesign):
    """Token ``(t, h, w)`` stands at ``(s + stride * t, s + h, s + w)`` and text goes on at ``b + N``.

    The paper (arXiv 2510.23095, table 4) says no more than "enlarging the modality interval to match
    that of vanilla RoPE, similar to RoPE-Tie"; there is no code, and the exact rule is ours.
    ``interval="right"``: ``s = b``. ``"symmetric"``: the grid stands in the middle of its interval,
    ``s = b + floor((N - E) / 2)``, ``E`` being its extent on its longest axis.
    """

    name = "interval"
    interval: Literal["right", "symmetric"] = "right"
    temporal_stride: float = 1.0

    def __post_init__(self) -> None:
        require_positive("temporal_stride", self.temporal_stride)

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        t, h, w = grid_indices(block)
        frames, rows, columns = block.grid
        extent = max(self.temporal_stride * (frames - 1) + 1, rows, columns)
        # A large stride makes a grid longer than its number of tokens: text never goes back.
        length = max(float(block.length), extent)
        origin = at.start + ((length - extent) // 2 if self.interval == "symmetric" else 0.0)
        next_position = at.start + length
        return BlockPositions((origin + self.temporal_stride * t, origin + h, origin + w), next_position)
