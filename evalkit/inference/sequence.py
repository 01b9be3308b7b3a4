"""The state of a sequence during generation, and the text runs and visual blocks of its prompt."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from evalkit.core.types import FinishReason, Prepared
from evalkit.inference.stopping import ReasoningBudget, is_loop
from evalkit.rope.layout import TEXT, Segment, TextRun, VisualBlock, runs

LinearState = tuple[Tensor, Tensor]
"""What a gated delta net remembers of ``n`` sequences: the last inputs of its convolution
``[n, channels, kernel]``, and a matrix for every head ``[n, heads, key size, value size]``."""


@dataclass(eq=False)
class SequenceState:
    """A prompt and what was generated for it.

    Attributes:
        item: the prompt.
        next_position: positions of the first generated token, ``[R]``.
        token_ids: generated so far, without the stop token.
        finish_reason: None while it runs.
        margin: see :class:`~evalkit.core.types.Generation`.
        error: why it has no answer.
        budget: limits of reasoning and answer, where they are apart.
        linear_states: of every layer without attention, its state after the last token but one.
    """

    item: Prepared
    next_position: Tensor
    budget: ReasoningBudget | None = None
    token_ids: list[int] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    margin: float = math.inf
    error: str | None = None
    linear_states: dict[int, LinearState] = field(default_factory=dict)

    def preempt(self) -> None:
        """Take it out of its batch, to be begun anew."""
        self.finish_reason = "error"

    @property
    def preempted(self) -> bool:
        """Whether it was taken out; a sequence that failed has an error message."""
        return self.finish_reason == "error" and self.error is None

    def fail(self, error: str) -> None:
        """Finish without an answer."""
        self.finish_reason, self.error = "error", error

    def accept(self, token: int, margin: float, stop: frozenset[int]) -> None:
        """Append a token, and finish if it ends the answer."""
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
        elif len(self.token_ids) >= self.item.max_new_tokens or (
            self.budget is not None and self.budget.used_up(self.token_ids)
        ):
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
