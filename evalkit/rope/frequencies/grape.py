"""The canonical, not learned, allocations of GRAPE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.rope.frequencies import AxisMap, FrequencyAllocation
from evalkit.rope.frequencies.chunk import Chunk
from evalkit.rope.parameters import Allocation


@dataclass(frozen=True)
class Grape(FrequencyAllocation):
    """``chunked``: as :class:`~evalkit.rope.frequencies.chunk.Chunk`; ``interleaved``: pair ``i``
    follows axis ``i mod 3`` (22, 21, 21 of 64). As in JJJYmmm/Multimodal-RoPEs.
    """

    name = "grape"
    layout: Literal["chunked", "interleaved"] = "chunked"

    def axis_map(self, pairs: int, kv_heads: int, section: Allocation | None = None) -> AxisMap:
        if self.layout == "chunked":
            return Chunk().axis_map(pairs, kv_heads, section)
        return np.arange(pairs, dtype=np.int64) % 3
