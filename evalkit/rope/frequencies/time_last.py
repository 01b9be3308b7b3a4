"""Height and width alternate over the high frequencies, time has the lowest (VideoRoPE, HoPE)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.rope.frequencies import AxisMap, FrequencyAllocation
from evalkit.rope.parameters import Allocation, check_allocation, symmetric_split


@dataclass(frozen=True)
class TimeLast(FrequencyAllocation):
    """Pairs go H, W, H, W, ... and then T: low-frequency temporal allocation (arXiv 2502.05173).

    ``allocation`` defaults to 16:24:24 of 64. ``unified_offset=true`` reproduces the allocation of
    JJJYmmm/Multimodal-RoPEs, which begins one pair later: T, H, W, ..., H, then T (17, 24, 23).
    """

    name = "videorope"
    allocation: Allocation | None = None
    unified_offset: bool = False

    def axis_map(self, pairs: int, kv_heads: int, section: Allocation | None = None) -> AxisMap:
        counts = self.allocation or symmetric_split(pairs, (16, 24, 24))
        check_allocation(counts, pairs, "rotary pairs")
        axes = np.zeros(pairs, dtype=np.int64)
        if self.unified_offset:
            axes[1 : 2 * counts[1] : 2], axes[2 : 2 * counts[2] : 2] = 1, 2
            return axes
        spatial = [axis for turn in range(max(counts[1:])) for axis in (1, 2) if turn < counts[axis]]
        axes[: len(spatial)] = spatial
        return axes


@dataclass(frozen=True)
class NoTime(TimeLast):
    """As :class:`TimeLast`, but the pairs of time are not rotated (HoPE, arXiv 2505.20444)."""

    name = "hope"

    def axis_map(self, pairs: int, kv_heads: int, section: Allocation | None = None) -> AxisMap:
        axes = super().axis_map(pairs, kv_heads, section)
        return np.where(axes == 0, -1, axes)

    @property
    def rotates_every_pair(self) -> bool:
        return False
