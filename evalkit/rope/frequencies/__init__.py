"""Frequency allocations: which axis each rotary pair follows.

A head of size ``d`` has ``P = d / 2`` rotary pairs; pair ``i`` rotates channels ``i`` and ``i + P`` by
``base ** (-2 i / d)`` times a position. An allocation says on which axis that position is read. One file per
allocation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from evalkit.rope.parameters import Allocation

AxisMap = npt.NDArray[np.int64]
"""``[P]`` or, where key-value heads differ, ``[KV, P]``: the index of the axis that a pair follows; -1: none,
the pair is not rotated.
"""


@dataclass(frozen=True)
class FrequencyAllocation:
    """Base of all allocations: a frozen dataclass whose fields are the allocation's parameters.

    ``name`` is what it is called in a variant, ``axes`` are the names of the axes that its maps point to. It
    goes with every position design that has the axes which it uses.
    """

    name: ClassVar[str]
    axes: ClassVar[tuple[str, ...]] = ("t", "h", "w")

    def axis_map(self, pairs: int, kv_heads: int, section: Allocation | None = None) -> AxisMap:
        """The axis map for heads of ``pairs`` rotary pairs; indices into the allocation's own ``axes``.

        Args:
            pairs: rotary pairs of a head.
            kv_heads: key-value heads of a layer.
            section: the ``mrope_section`` of the model's configuration, if it has one.

        Raises:
            BadParameter: the allocation can't be laid out on such heads.
        """
        raise NotImplementedError

    @property
    def rotates_every_pair(self) -> bool:
        """Whether every pair follows an axis, so that text is rotated as by ordinary RoPE."""
        return True
