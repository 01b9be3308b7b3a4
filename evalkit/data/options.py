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


def option_block(question: str) -> dict[str, str]:
    r"""The options that stand in a question, one a line, from A on.

    >>> option_block("Which way?\n\nA. Left.\nB. Right.\nPlease answer with the letter.")
    {'A': 'Left.', 'B': 'Right.'}
    """
    found = re.findall(r"(?m)^\s*([A-Z])[.):]\s+(.*\S)\s*$", question)
    return {
        letter: text
        for place, (letter, text) in zip(string.ascii_uppercase, found, strict=False)
        if letter == place
    }


def inline_options(question: str) -> dict[str, str]:
    r"""The options that stand in one line of a question, as in MMStar.

    >>> inline_options("Which?\nOptions: A: a cat, B: a dog, or two")
    {'A': 'a cat', 'B': 'a dog, or two'}
    """
    line = question.rpartition("Options:")[2]
    pieces = re.split(r"(?:^|,)\s*([A-Z]): ", line)
    letters, texts = pieces[1::2], pieces[2::2]
    if letters != list(string.ascii_uppercase[: len(letters)]):
        return {}
    return {letter: text.strip() for letter, text in zip(letters, texts, strict=True)}
