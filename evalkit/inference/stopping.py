"""When generation stops: stop tokens and loops; and the tokens that are never generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from evalkit.metrics.reasoning import closes_reasoning, may_open_reasoning, opens_reasoning

LOOP_PERIOD = 32
LOOP_REPEATS = 16
LOOP_TOKENS = 64


@dataclass(frozen=True)
class GenerationTokens:
    """Token ids with a meaning for generation.

    Attributes:
        stop_token_ids: end an answer.
        banned_token_ids: are never generated: visual placeholders, padding.
        placeholder_token_ids: are replaced by features of media in a prompt.
    """

    stop_token_ids: frozenset[int]
    banned_token_ids: tuple[int, ...]
    placeholder_token_ids: tuple[int, ...]


def is_loop(token_ids: Sequence[int]) -> bool:
    """Whether an answer ends in one phrase over and over, so that generating on is pointless.

    True if the tail is a phrase of at most 32 tokens, at least 16 times in a row and at least 64 tokens in
    all. It depends on the tokens alone, so an answer is cut at the same place in every batch.

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


TAG_TOKENS = 32
"""Tokens of which a tag of reasoning consists at most."""


@dataclass
class ReasoningBudget:
    """The limits of an answer whose reasoning has one of its own.

    Attributes:
        reasoning: tokens until its end; an answer that is still reasoning then is cut off.
        answer: tokens after that end, or in all without reasoning.
        text: of tokens.
        reasons: whether it began with reasoning; None if that is not known yet.
        ended: tokens up to the end of reasoning, its tag included.
    """

    reasoning: int
    answer: int
    text: Callable[[Sequence[int]], str]
    reasons: bool | None
    ended: int | None = None

    @classmethod
    def of(
        cls, prompt: str, reasoning: int, total: int, text: Callable[[Sequence[int]], str]
    ) -> ReasoningBudget:
        """The limits of an answer to ``prompt`` of ``total`` tokens, ``reasoning`` ones included."""
        return cls(reasoning, total - reasoning, text, opens_reasoning(prompt) or None)

    def used_up(self, token_ids: Sequence[int]) -> bool:
        """Whether the last of these tokens was the last allowed one; to be asked after each token."""
        length = len(token_ids)
        if _may_end_tag(self.text, token_ids[-1]) and closes_reasoning(self.text(token_ids[-TAG_TOKENS:])):
            self.ended = length
        if self.ended is not None:
            return length - self.ended >= self.answer
        if self.reasons is None and length >= min(self.answer, self.reasoning):
            opening = may_open_reasoning(self.text(token_ids[: 2 * TAG_TOKENS]))
            # Cut within a tag it says neither yet.
            self.reasons = opening if opening is not None else (True if length >= self.reasoning else None)
        if self.reasons is False:
            return length >= self.answer
        return length >= self.reasoning


@lru_cache(maxsize=1 << 16)
def _may_end_tag(text: Callable[[Sequence[int]], str], token: int) -> bool:
    return not {">", "]", "▷"}.isdisjoint(text([token]))
