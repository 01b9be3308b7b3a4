"""Whole heads: every axis gets the full spectrum, on key-value heads of its own (MHRoPE)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.rope.frequencies import AxisMap, FrequencyAllocation
from evalkit.rope.parameters import Allocation, BadParameter, check_allocation, symmetric_split


@dataclass(frozen=True)
class Heads(FrequencyAllocation):
    """The first key-value heads follow time, the next height, the next width, any others nothing.

    A query head follows its key-value head. ``allocation`` defaults to 2:3:3 of 8 heads, which makes
    2:1:1 of 4 (the paper does not say what it used there).
    """

    name = "heads"
    allocation: Allocation | None = None

    def axis_map(self, pairs: int, kv_heads: int, section: Allocation | None = None) -> AxisMap:
        if kv_heads < 3:
            raise BadParameter(
                f"the model has {kv_heads} key-value heads, and time, height and width need one each"
            )
        counts = self.allocation or symmetric_split(kv_heads, (2, 3, 3))
        check_allocation(counts, kv_heads, "key-value heads", all_used=False)
        head_axes = np.full(kv_heads, -1, dtype=np.int64)
        head_axes[: sum(counts)] = np.repeat(np.arange(3), counts)
        return np.repeat(head_axes[:, None], pairs, axis=1)
