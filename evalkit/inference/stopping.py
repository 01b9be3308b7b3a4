"""When generation stops: stop tokens and loops; and the tokens that are never generated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
