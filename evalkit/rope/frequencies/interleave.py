"""Round robin: every axis gets high, middle and low frequencies (MRoPE-I, Qwen3-VL)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.rope.frequencies import AxisMap
from evalkit.rope.frequencies.quota import check_allocation
from evalkit.rope.parameters import Allocation, symmetric_split


@dataclass(frozen=True)
class Interleave:
    """Pairs go T, H, W, T, H, W, ...; an axis whose number is used up is passed over.

    Equal to the published slices wherever T >= H = W. ``allocation`` defaults to 24:20:20 of 64.
    """

    allocation: Allocation | None = None

    def axis_map(self, pairs: int, kv_heads: int, section: Allocation | None = None) -> AxisMap:
        """See :class:`~evalkit.rope.frequencies.FrequencyAllocation`."""
        counts = self.allocation or symmetric_split(pairs, (24, 20, 20))
        check_allocation(counts, pairs, "rotary pairs")
        rounds = [axis for turn in range(max(counts)) for axis in range(3) if turn < counts[axis]]
        return np.array(rounds, dtype=np.int64)
