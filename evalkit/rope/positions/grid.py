"""A block as a grid whose origin is the next text position (MRoPE of Qwen2-VL and Qwen2.5-VL)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.rope.layout import VisualBlock
from evalkit.rope.parameters import require_positive
from evalkit.rope.positions import Coordinates

# Of the released Qwen2.5-VL checkpoints; a model's own value replaces it when a variant is installed.
QWEN_TOKENS_PER_SECOND = 2.0


@dataclass(frozen=True)
class Grid:
    """Token ``(t, h, w)`` sits at ``(b + time(t), b + h, b + w)``; text goes on after the largest.

    ``time(t)`` is ``temporal_stride * t``, as in Qwen2-VL. With ``absolute_time`` (Qwen2.5-VL) a
    video's is ``floor(temporal_stride * t * seconds_per_grid * tokens_per_second)``.

    The text after a block starts above its largest coordinate on *any* axis, as Qwen trains it.
    transformers 5.3 to 5.23 leave time out, so that text after a long video re-uses its positions.
    """

    temporal_stride: float = 1.0
    absolute_time: bool = False
    tokens_per_second: float | None = None

    def __post_init__(self) -> None:
        require_positive("temporal_stride", self.temporal_stride)
        if self.tokens_per_second is not None:
            require_positive("tokens_per_second", self.tokens_per_second)

    def place(self, block: VisualBlock, start: float) -> tuple[Coordinates, float]:
        """See :class:`~evalkit.rope.positions.PositionDesign`."""
        times = self._times(block)
        t, h, w = raster(block, times)
        _, rows, columns = block.grid
        following = start + max(float(times[-1]), rows - 1, columns - 1) + 1
        return np.stack([start + t, start + h, start + w]), following

    def _times(self, block: VisualBlock) -> Coordinates:
        steps = np.arange(block.grid[0], dtype=np.float64)
        if not self.absolute_time or block.seconds_per_grid is None:
            return steps * self.temporal_stride
        per_second = self.tokens_per_second or QWEN_TOKENS_PER_SECOND
        # float32, as torch computed it in training: the floor makes the last bit matter.
        ticks = steps.astype(np.float32) * np.float32(block.seconds_per_grid) * np.float32(per_second)
        whole: Coordinates = np.floor(np.float32(self.temporal_stride) * ticks).astype(np.float64)
        return whole


def raster(
    block: VisualBlock, times: npt.NDArray[np.float64]
) -> tuple[Coordinates, Coordinates, Coordinates]:
    """Time, row and column ``[T*H*W]`` of every token, relative to the block's origin."""
    _, rows, columns = block.grid
    axes = np.meshgrid(times, np.arange(float(rows)), np.arange(float(columns)), indexing="ij")
    t, h, w = (axis.ravel() for axis in axes)
    return t, h, w
