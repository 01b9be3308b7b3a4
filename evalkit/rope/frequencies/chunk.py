"""Consecutive chunks: the highest frequencies to time, the middle to height, the lowest to width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.rope.frequencies import AxisMap, FrequencyAllocation
from evalkit.rope.parameters import Allocation, check_allocation, symmetric_split


@dataclass(frozen=True)
class Chunk(FrequencyAllocation):
    """MRoPE's allocation (Qwen2-VL): pairs for time, then height, then width.

    ``allocation`` defaults to the model's own ``mrope_section``, else to 16:24:24 of 64.
    """

    name = "chunk"
    allocation: Allocation | None = None

    def axis_map(self, pairs: int, kv_heads: int, section: Allocation | None = None) -> AxisMap:
        counts = self.allocation or section or symmetric_split(pairs, (16, 24, 24))
        check_allocation(counts, pairs, "rotary pairs")
        return np.repeat(np.arange(3), counts)
