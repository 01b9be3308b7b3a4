"""The options of a multiple-choice question, by letter."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping


def lettered(options: Iterable[str], *, written: bool = False) -> dict[str, str]:
    """Options by letter; with ``written``, each begins with its letter, which is taken off.

    >>> lettered(["A. red", "B. blue"], written=True)
    {'A': 'red', 'B': 'blue'}
    >>> lettered(["$6", "$7"])
    {'A': '$6', 'B': '$7'}
    """
    found = dict(zip(string.ascii_uppercase, map(str, options), strict=False))
    if not written:
        return found
    return {letter: re.sub(rf"^\s*{letter}[.):]\s*", "", text) for letter, text in found.items()}


def option_lines(options: Mapping[str, str]) -> str:
    r"""One option a line.

    >>> option_lines({"A": "red", "B": "blue"})
    'A. red\nB. blue'
    """
    return "\n".join(f"{letter}. {text}" for letter, text in options.items())
