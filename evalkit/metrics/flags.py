"""Flags of an answer, independent of metrics: it is empty, or it ends in a loop."""

from __future__ import annotations

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


def is_repeating(text: str) -> bool:
    """Whether an answer ends in a loop.

    Either 32 times the same character (``1111...``), or a piece of any length at least 4 times in
    a row over at least 60 characters (the last time may be cut off). Lists of a few equal items,
    emphasis (``!!!``) and ruled lines within an answer are no loops.

    >>> is_repeating("The total is 1" + "1" * 40), is_repeating("no, " * 20), is_repeating("1, 1, 1, 1")
    (True, True, False)
    """
    tail = text.rstrip()[-_TAIL:][::-1]
    for length, border in enumerate(_borders(tail), start=1):
        period = length - border
        if period == 1 and length >= _RUN:
            return True
        # One character less, since the space after the last piece was cut off.
        if length >= _LOOP_CHARACTERS and period > 1 and length >= _LOOP_TIMES * period - 1:
            return True
    return False


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
