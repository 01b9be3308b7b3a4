"""Variable visual position encoding: one axis, on which visual tokens take small steps (V2PE)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evalkit.rope.layout import VisualBlock
from evalkit.rope.parameters import require_positive
from evalkit.rope.positions import BlockPositions, Cursor, PositionDesign


@dataclass(frozen=True)
class SmallSteps(PositionDesign):
    """Token ``k`` of a block stands at ``b - 1 + step * (k + 1)``; text goes on at the next whole
    number above the last one's, ``ceil(b - 1 + step * N) + 1`` (arXiv 2412.09616).

    ``step`` is between 1/256 and 1 in training; 1/16 is our default (the paper evaluates several).
    ``span``, if set, gives every block the same length instead, ``step = span / N``, as
    JJJYmmm/Multimodal-RoPEs does.
    """

    name = "v2pe"
    step: float = 1 / 16
    span: float | None = None

    def __post_init__(self) -> None:
        require_positive("step", self.step)
        if self.span is not None:
            require_positive("span", self.span)

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        count = block.length
        step = self.step if self.span is None else self.span / count
        last_text = at.start - 1
        # Products, not sums of steps: they are exact where the step is a power of two.
        line = last_text + step * (block.token_indices() + 1.0)
        # A block of `span` ends where its length says, whatever rounding did to span / N * N.
        extent = step * count if self.span is None else self.span
        return BlockPositions((line, line, line), math.ceil(last_text + extent) + 1.0)
