"""The options of a multiple-choice question, by letter."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def lettered(options: Iterable[Any], *, written: bool = False) -> dict[str, str]:
    """Options by letter; with ``written``, each begins with its letter, which is taken off.

    Raises:
        ValueError: they are the text of a list instead of one, one of them is null or empty, they are
            more than there are letters, or letters are written before them that aren't theirs.

    >>> lettered(["A. red", "B. blue"], written=True)
    {'A': 'red', 'B': 'blue'}
    >>> lettered(["$6", "$7"])
    {'A': '$6', 'B': '$7'}
    """
    if isinstance(options, str | bytes | Mapping):
        raise ValueError(f"the options are one {type(options).__name__} instead of a list: {options!r}"[:200])
    texts = [_option(each) for each in options]
    if len(texts) > len(string.ascii_uppercase):
        raise ValueError(f"there are {len(texts)} options, more than letters")
    found = dict(zip(string.ascii_uppercase, texts, strict=False))
    if not written:
        return found
    return {letter: _option(text) for letter, text in _without_letters(found).items()}


def _without_letters(options: Mapping[str, str]) -> dict[str, str]:
    """Options without the letters that they begin with, which must be theirs (``U.S.`` alone is none)."""
    marks = {letter: _MARK.match(text) for letter, text in options.items()}
    own = [letter for letter, mark in marks.items() if mark and mark[1] == letter]
    others = [letter for letter, mark in marks.items() if mark and mark[1] != letter and mark[1] in options]
    if others and (own or len(others) == len(options)):
        written = ", ".join(mark[1] if mark else "none" for mark in marks.values())
        raise ValueError(f"the letters written before the options are {written}"[:200])
    return {
        letter: text[mark.end() :] if (mark := marks[letter]) and letter in own else text
        for letter, text in options.items()
    }


_MARK = re.compile(r"\s*([A-Z])[.):]\s*")


def given(options: Mapping[str, str]) -> dict[str, str]:
    """The options that were found in a question's text.

    Raises:
        ValueError: none were, or a single one.
    """
    if len(options) < 2:
        raise ValueError(f"{len(options) or 'no'} option{'s' * (not options)} can be read in its question")
    return dict(options)


def _option(value: Any) -> str:
    """The text of an option; a number's is how it is written."""
    number = isinstance(value, int | float) and math.isfinite(value)
    if not number and not (isinstance(value, str) and value.strip()):
        raise ValueError(f"an option is {value!r}"[:200])
    return str(value)


def without_gaps(options: Iterable[Any], is_missing: Callable[[Any], bool]) -> list[Any]:
    """The options that are there; those that are not must come last, or letters would shift.

    Raises:
        ValueError: one is missing before another.

    >>> without_gaps(["red", "blue", "N/A"], lambda text: text == "N/A")
    ['red', 'blue']
    """
    given = list(options)
    found = [each for each in given if not is_missing(each)]
    if any(map(is_missing, given[: len(found)])):
        raise ValueError(f"an option is missing before others: {given!r}"[:200])
    return found


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
