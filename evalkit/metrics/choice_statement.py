"""What a rule finds in an answer, and which option a piece of text is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from evalkit.metrics.choice_context import ChoiceText
from evalkit.metrics.choice_text import NOUN, clean, comparable


@dataclass(frozen=True)
class Statement:
    """One place that says what is chosen: an option's letter, or yes or no (None: several at once)."""

    choice: str | None
    place: int
    rule: str
    weight: int = 0


Finder = Callable[[ChoiceText], Iterator[Statement]]
Example = tuple[str, str | None]


@dataclass(frozen=True)
class Rule:
    """How one form of answer is read: ``find`` yields the places of this form in a text.

    ``examples`` are texts and their choices, letters among A to D (red, blue, green, black) or yes and no; a
    test executes them.
    """

    name: str
    reads: str
    find: Finder
    examples: tuple[Example, ...]


_LETTER_AND_TEXT = re.compile(
    rf"(?:(?:the\s+)?(?:final\s+|correct\s+)?(?:{NOUN}|"
    rf"选项)\s*:?\s*)?[(\[{{\"']*([A-Za-z])[)\]}}\"']*\s*(?:选项|選項|项|項)?"
    r"(?:[.,:;!?)、。]*|[.):,、\-–—]\s*(?P<own>.*))",
    re.DOTALL | re.IGNORECASE,
)


def names_another(answer: ChoiceText, letter: str, text: str | None) -> bool:
    """Whether what follows a letter is nothing but another one ("A: B"), which is not its text either."""
    other = re.fullmatch(r"[(\[]?([A-Z])[)\]]?[.,;!]?", (text or "").strip())
    return other is not None and other[1] not in (letter, answer.texts.get(letter, "").upper())


def of_option(answer: ChoiceText, text: str) -> str | None:
    """The letter of a text that is nothing but an option: its letter, its text, or both."""
    text = clean(text).strip(" \n⟦⟧")
    found = _LETTER_AND_TEXT.fullmatch(text)
    same = [letter for letter, own in answer.texts.items() if own == comparable(text)]
    if len(same) == 1 and len(comparable(text)) > 1:
        return same[0]
    if found and found[1].upper() in answer.letters:
        return None if names_another(answer, found[1].upper(), found["own"]) else found[1].upper()
    spaced = re.fullmatch(r"[(\[]?([A-Z])[)\]]?\s+(.+)", text, re.DOTALL)
    if spaced and comparable(spaced[2]) == answer.texts.get(spaced[1]):
        return spaced[1]
    return same[0] if len(same) == 1 else None


def option_at(answer: ChoiceText, place: int) -> str | None:
    """The letter of the option whose text (of more than one character) begins at a place; the longest."""
    rest = re.sub(r"^[\s:\"'⟦(]*(?:(?:an?|the)\s+)?", "", answer.text[place : place + 400]).casefold()
    bare = re.sub(r"^[\s:\"'⟦(]*", "", answer.text[place : place + 400]).casefold()
    starts = [
        (len(own), letter)
        for letter, own in answer.texts.items()
        if len(own) > 1 or not own.isalpha()
        if any(re.match(rf"{re.escape(own)}(?![\w]|[.,]\d)", text) for text in (rest, bare))
    ]
    longest = max(starts, default=(0, ""))[0]
    letters = [letter for length, letter in starts if length == longest]
    return letters[0] if len(letters) == 1 else None
