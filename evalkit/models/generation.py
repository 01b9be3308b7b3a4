"""What greedy generation goes by: when an answer ends, and where a prompt's tokens sit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from evalkit.rope.layout import TEXT, Segment, TextRun, VisualBlock, runs
from evalkit.types import FinishReason, Prepared

LOOP_PERIOD = 32
LOOP_REPEATS = 16
LOOP_TOKENS = 64


@dataclass(frozen=True)
class DecodingRules:
    """``stop``: ids that end an answer. ``banned``: ids never generated (visual placeholders, padding).

    ``visual``: ids of visual placeholders. ``pad``: any id that is none.
    """

    stop: frozenset[int]
    banned: tuple[int, ...]
    visual: tuple[int, ...]
    pad: int


@dataclass(eq=False)
class Row:
    """One prompt while it is being answered; ``token_ids`` exclude the stop token.

    ``following [R]``: positions of the first generated token. ``margin``: see
    :class:`~evalkit.types.Generation`. A row that ended by an ``error`` has no answer; one that was dropped
    ended so without any.
    """

    item: Prepared
    following: Tensor
    token_ids: list[int] = field(default_factory=list)
    finish: FinishReason | None = None
    margin: float = math.inf
    error: str | None = None

    def fail(self, error: str) -> None:
        """End without an answer."""
        self.finish, self.error = "error", error

    def accept(self, token: int, margin: float, stop: frozenset[int]) -> None:
        """Take the next token."""
        self.margin = min(self.margin, margin)
        if self.item.choices:
            self.token_ids, self.finish = [token], "stop"
            return
        if token in stop:
            self.finish = "stop"
            return
        self.token_ids.append(token)
        if is_loop(self.token_ids):
            self.finish = "loop"
        elif len(self.token_ids) >= self.item.max_new_tokens:
            self.finish = "length"


def is_loop(token_ids: Sequence[int]) -> bool:
    """Whether the answer ends in one phrase over and over, so that going on is pointless.

    True if the tail is a phrase of at most 32 tokens, at least 16 times in a row and at least 64
    tokens in all. It looks at nothing but the tokens, so an answer is cut at the same place in every
    batch.

    >>> is_loop([1, 2] * 31), is_loop([1, 2] * 32), is_loop([*range(40)] * 20)
    (False, True, False)
    """
    for period in range(1, LOOP_PERIOD + 1):
        span = max(LOOP_TOKENS, LOOP_REPEATS * period)
        if len(token_ids) < span:
            return False
        if token_ids[-1] != token_ids[-1 - period]:
            continue
        tail = token_ids[-span:]
        if tail[:-period] == tail[period:]:
            return True
    return False


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
