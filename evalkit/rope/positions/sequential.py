"""One-dimensional positions: visual tokens are numbered like text (vanilla RoPE)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.rope.layout import VisualBlock
from evalkit.rope.positions import Coordinates


@dataclass(frozen=True)
class Sequential:
    """Token ``k`` of a block sits at ``b + k`` on every axis; text goes on at ``b + N``."""

    def place(self, block: VisualBlock, start: float) -> tuple[Coordinates, float]:
        """See :class:`~evalkit.rope.positions.PositionDesign`."""
        line = start + np.arange(block.length, dtype=np.float64)
        return np.broadcast_to(line, (3, block.length)), start + block.length
