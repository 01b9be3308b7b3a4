"""Round robin: every axis gets high, middle and low frequencies (MRoPE-I, Qwen3-VL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.rope.frequencies import AxisMap, FrequencyAllocation
from evalkit.rope.parameters import Allocation, BadParameter, check_allocation, symmetric_split


@dataclass(frozen=True)
class Interleave(FrequencyAllocation):
    """Pairs go T, H, W, T, H, W, ...; an axis whose number is used up is passed over.

    Equal to the published slices wherever T >= H = W. Elsewhere those don't give what they are asked
    for ([12,26,26] becomes 22, 21, 21) or fail; ``slices=true`` reproduces them. ``allocation``
    defaults to 24:20:20 of 64.
    """

    name = "interleave"
    allocation: Allocation | None = None
    slices: bool = False

    RATIO: ClassVar[Allocation] = (24, 20, 20)

    def axis_map(self, pairs: int, kv_heads: int, section: Allocation | None = None) -> AxisMap:
        counts = self.allocation or symmetric_split(pairs, self.RATIO)
        check_allocation(counts, pairs, "rotary pairs")
        if self.slices:
            return _slices(counts, pairs)
        axes = [axis for turn in range(max(counts)) for axis in range(3) if turn < counts[axis]]
        return np.array(axes, dtype=np.int64)


@dataclass(frozen=True)
class InterleaveTimeLow(Interleave):
    """Round robin that leaves the lowest frequencies to time, 32:16:16 of 64.

    The paper calls IL-RoPE's allocation "a form of interleaving" that "reserves the lowest-frequency
    channels for the temporal dimension" (arXiv 2510.23095); the exact numbers are not published and
    these are ours.
    """

    name = "ilrope"

    RATIO: ClassVar[Allocation] = (32, 16, 16)


def _slices(counts: Allocation, pairs: int) -> AxisMap:
    """``axes[1 : 3 * h : 3] = H; axes[2 : 3 * w : 3] = W``, as transformers' Qwen3-VL has it."""
    if counts[0] == 0:
        raise BadParameter("the published slices can't leave time out; drop `slices=true`", "slices")
    axes = np.zeros(pairs, dtype=np.int64)
    for axis in (1, 2):
        axes[axis : 3 * counts[axis] : 3] = axis
    return axes
