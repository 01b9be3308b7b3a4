"""Frequency allocations: which axis each rotary pair follows.

A head of size ``d`` has ``P = d / 2`` rotary pairs; pair ``i`` turns channels ``i`` and ``i + P`` by
``base ** (-2 i / d)`` times a position. An allocation says whose position: an *axis map* ``[P]``, or
``[KV, P]`` where key-value heads differ, of 0 (time), 1 (height), 2 (width) or -1 (none: the pair is
not turned). One file per allocation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.rope.parameters import Allocation

AxisMap = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FrequencyAllocation:
    """Base of all allocations: a frozen dataclass whose fields are the allocation's parameters."""

    def axis_map(self, pairs: int, kv_heads: int, section: Allocation | None = None) -> AxisMap:
        """The axis map for heads of ``pairs`` rotary pairs.

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
        """Whether no pair is left unturned, so that text is rotated as by ordinary RoPE."""
        return True
