"""Every pair follows the time axis: ordinary RoPE, whatever the other axes say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.rope.frequencies import AxisMap, FrequencyAllocation
from evalkit.rope.parameters import Allocation


@dataclass(frozen=True)
class Temporal(FrequencyAllocation):
    """All pairs follow time."""

    name = "temporal"

    def axis_map(self, pairs: int, kv_heads: int, section: Allocation | None = None) -> AxisMap:
        return np.zeros(pairs, dtype=np.int64)
