"""Small groups of pairs that repeat down the spectrum (MM-RoPE of Lumos-1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.rope.frequencies import AxisMap, FrequencyAllocation
from evalkit.rope.parameters import Allocation, BadParameter

_GROUPS = {16: "TTTTHHWWHHWWHHWW", 8: "TTHWHWHW"}


@dataclass(frozen=True)
class MetaGroups(FrequencyAllocation):
    """Pairs in groups of 16, ``TTTT HHWW HHWW HHWW``, as in Lumos-1 (arXiv 2507.08801); with
    ``period=8`` in groups ``TT HW HW HW``, as in JJJYmmm/Multimodal-RoPEs. Both are 16:24:24 of 64.
    """

    name = "meta"
    period: Literal[16, 8] = 16

    def axis_map(self, pairs: int, kv_heads: int, section: Allocation | None = None) -> AxisMap:
        if pairs % self.period:
            raise BadParameter(
                f"groups of {self.period} pairs don't divide the model's {pairs} rotary pairs", "period"
            )
        group = ["THW".index(axis) for axis in _GROUPS[self.period]]
        return np.tile(np.array(group, dtype=np.int64), pairs // self.period)
