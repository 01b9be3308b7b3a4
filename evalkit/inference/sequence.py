"""A sequence while it is being answered, and the runs of text and visual blocks of its prompt."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from evalkit.core.types import FinishReason, Prepared
from evalkit.inference.stopping import is_loop
from evalkit.rope.layout import TEXT, Segment, TextRun, VisualBlock, runs


@dataclass(eq=False)
class SequenceState:
    """One prompt while it is being answered; ``token_ids`` exclude the stop token.

    ``next_position [R]``: positions of the first generated token. ``margin``: see
    :class:`~evalkit.core.types.Generation`. A row that ended by an ``error`` has no answer; one that was dropped
    ended so without any.
    """

    item: Prepared
    next_position: Tensor
    token_ids: list[int] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    margin: float = math.inf
    error: str | None = None

    def fail(self, error: str) -> None:
        """End without an answer."""
        self.finish_reason, self.error = "error", error

    def accept(self, token: int, margin: float, stop: frozenset[int]) -> None:
        """Take the next token."""
        self.margin = min(self.margin, margin)
        if self.item.choices:
            self.token_ids, self.finish_reason = [token], "stop"
            return
        if token in stop:
            self.finish_reason = "stop"
            return
        self.token_ids.append(token)
        if is_loop(self.token_ids):
            self.finish_reason = "loop"
        elif len(self.token_ids) >= self.item.max_new_tokens:
            self.finish_reason = "length"


def segments_of(item: Prepared) -> list[Segment]:
    """The segments of a prepared prompt: each run of visual tokens is cut into its media's blocks."""
    blocks = iter(
        VisualBlock(grid, medium.seconds_per_grid, medium.tile)
        for medium in item.vision
        for grid in medium.blocks
    )
    segments: list[Segment] = []
    for kind, length in runs(item.token_types):
        left = 0 if kind == TEXT else length
        if kind == TEXT:
            segments.append(TextRun(length))
        while left > 0:
            segments.append(next(blocks))
            left -= segments[-1].length
    if next(blocks, None) is not None or sum(each.length for each in segments) != item.length:
        raise ValueError(f"the visual tokens of `{item.key}` are not those of its media's blocks")
    return segments
