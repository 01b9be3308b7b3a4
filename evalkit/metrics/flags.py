"""Flags of an answer, independent of metrics: it is empty, or it ends in a loop."""

from __future__ import annotations

from dataclasses import dataclass

# Loops are judged on the end of an answer, since one that began does not end by itself.
_TAIL = 4096
_RUN = 32
_LOOP_CHARACTERS = 60
_LOOP_TIMES = 4


def is_empty(text: str) -> bool:
    r"""Whether there is nothing but white space.

    >>> is_empty(" \n"), is_empty("0")
    (True, False)
    """
    return not text.strip()


@dataclass(frozen=True)
class Loop:
    """The ``piece`` that an answer repeats to its end, from the character ``start`` on, ``times`` times (the
    last may be cut off).
    """

    piece: str
    start: int
    times: float


def is_repeating(text: str) -> bool:
    """Whether an answer ends in a loop.

    Either 32 times the same character (``1111...``), or a piece of any length at least 4 times in
    a row over at least 60 characters (the last time may be cut off). Lists of a few equal items,
    emphasis (``!!!``) and ruled lines within an answer are no loops.

    >>> is_repeating("The total is 1" + "1" * 40), is_repeating("no, " * 20), is_repeating("1, 1, 1, 1")
    (True, True, False)
    """
    return _period(text.rstrip()) > 0


def find_loop(text: str) -> Loop | None:
    """The loop that :func:`is_repeating` sees.

    >>> find_loop("The total is 1" + "1" * 40), find_loop("1, 1, 1, 1")
    (Loop(piece='1', start=13, times=41.0), None)
    """
    text = text.rstrip()
    period = _period(text)
    if not period:
        return None
    start = len(text) - period
    while start and text[start - 1] == text[start - 1 + period]:
        start -= 1
    return Loop(text[start : start + period], start, (len(text) - start) / period)


def _period(text: str) -> int:
    """How many characters are repeated to the end of a text; 0 if none are."""
    tail = text[-_TAIL:][::-1]
    for length, border in enumerate(_borders(tail), start=1):
        period = length - border
        if period == 1 and length >= _RUN:
            return period
        # One character less, since the space after the last piece was cut off.
        if length >= _LOOP_CHARACTERS and period > 1 and length >= _LOOP_TIMES * period - 1:
            return period
    return 0


def _borders(text: str) -> list[int]:
    """For every prefix, the length of its longest proper prefix that is also its suffix
    (Knuth, Morris and Pratt): the prefix has the period ``length - border``.
    """
    known: list[int] = []
    for place, character in enumerate(text):
        border = known[place - 1] if place else 0
        while border and text[border] != character:
            border = known[border - 1]
        known.append(border + 1 if place and text[border] == character else 0)
    return known
