"""A block as a grid whose origin is the next text position (MRoPE of Qwen2-VL and Qwen2.5-VL)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.rope.layout import VisualBlock
from evalkit.rope.parameters import require_positive
from evalkit.rope.positions import BlockPositions, Coordinates, Cursor, PositionDesign, grid_indices

# Of the released Qwen2.5-VL checkpoints; a model's own value replaces it when a variant is installed.
QWEN_TOKENS_PER_SECOND = 2.0

Compat = Literal["none", "hf5", "int_seconds", "hf5+int_seconds"]


@dataclass(frozen=True)
class Grid(PositionDesign):
    """Token ``(t, h, w)`` stands at ``(b + time(t), b + h, b + w)``; text goes on after the largest.

    ``time(t)`` is ``temporal_stride * t``, as in Qwen2-VL. With ``absolute_time`` (Qwen2.5-VL) a
    video's is ``floor(temporal_stride * t * seconds_per_grid * tokens_per_second)``. By default the
    model that the variant is installed into decides: it is on for Qwen2.5-VL.

    The text after a block starts above its largest coordinate on *any* axis, as Qwen trains it.
    ``compat`` reproduces what transformers does instead: ``hf5`` (5.3 to 5.24) starts it at ``b +
    max(H, W)``, so that text after a long video uses the video's positions again (and decoding with
    ``rope_deltas`` jumps back above the largest); ``int_seconds``
    (4.50 to 5.17) cuts ``seconds_per_grid`` to a whole number; ``hf5+int_seconds`` does both.
    """

    name = "grid"
    temporal_stride: float = 1.0
    absolute_time: bool | None = None
    tokens_per_second: float | None = None
    compat: Compat = "none"

    def __post_init__(self) -> None:
        require_positive("temporal_stride", self.temporal_stride)
        if self.tokens_per_second is not None:
            require_positive("tokens_per_second", self.tokens_per_second)

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        _, h, w = grid_indices(block)
        times = self._times(block)
        _, rows, columns = block.grid
        extent = float(max(rows, columns) - 1)
        if "hf5" not in self.compat:
            extent = max(extent, float(times[-1]))
        t = at.start + times.reshape(-1, 1, 1)
        return BlockPositions((t, at.start + h, at.start + w), at.start + extent + 1)

    @property
    def text_goes_on(self) -> bool:
        return "hf5" not in self.compat

    def generation_start(self, next_position: float, largest: Callable[[], float]) -> float:
        return max(next_position, largest() + 1) if "hf5" in self.compat else next_position

    def _times(self, block: VisualBlock) -> Coordinates:
        steps = np.arange(block.grid[0], dtype=np.float64)
        if self.absolute_time is False or block.seconds_per_grid is None:
            return steps * self.temporal_stride
        seconds = int(block.seconds_per_grid) if "int_seconds" in self.compat else block.seconds_per_grid
        per_second = self.tokens_per_second or QWEN_TOKENS_PER_SECOND
        # float32, as torch computed it in training: the floor makes the last bit matter.
        ticks = steps.astype(np.float32) * np.float32(seconds) * np.float32(per_second)
        whole: Coordinates = np.floor(np.float32(self.temporal_stride) * ticks).astype(np.float64)
        return whole
