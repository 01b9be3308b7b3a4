"""A number or a word that an answer states, alone or in a sentence (drawn abilities)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evalkit.metrics.base import Answer, NoReading, Score, TextMetric
from evalkit.metrics.numbers import read_number
from evalkit.metrics.short_text import extract_short_answer

_QUOTED = re.compile(r"[\"“”‘’'`*]+([A-Za-z]+)[.,]?[\"“”‘’'`*]+")
_IS = re.compile(r"(?:\bis|\bare|[:=])\s+(?:the\s+word\s+)?([A-Za-z]+)\s*[.!]?\s*\Z", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class StatedNumber(TextMetric):
    """Accuracy of the number that an answer states (:func:`.numbers.read_number`); the reference is its text.
    ``numbered`` is a word that stands before numbers that are meant ("image 3").

    >>> StatedNumber(numbered="image").score(Answer("The red circle is in image 3.", "3")).value
    1.0
    """

    numbered: str = ""
    name: str = "acc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer.

        Raises:
            ValueError: the reference is no number.
        """
        right = float(answer.reference)
        text = answer.prediction
        if self.numbered:
            text = re.sub(
                rf"\b{self.numbered}s?\s+(?:number\s+|no\.?\s+)?#?(?=\d)", "", text, flags=re.IGNORECASE
            )
        try:
            given = read_number(text)
        except NoReading as problem:
            return Score(0.0, parse_error=str(problem))
        return Score(float(float(given) == right), parsed=given)


@dataclass(frozen=True)
class StatedWord(TextMetric):
    """Accuracy of the one word that an answer states: alone, in quotes or bold, or after "is"; words that the
    question quotes are not it. The reference is the word; case doesn't matter.

    >>> StatedWord().score(Answer('The word after "owl" is "lamp".', "lamp", 'What comes after "owl"?')).value
    1.0
    """

    name: str = "acc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer.

        Raises:
            ValueError: the reference is no text.
        """
        if not isinstance(answer.reference, str):
            raise ValueError(f"the reference must be a text, not {answer.reference!r}")
        try:
            given = read_word(answer.prediction, answer.question)
        except NoReading as problem:
            return Score(0.0, parse_error=str(problem))
        return Score(float(given == answer.reference.casefold()), parsed=given)


def read_word(text: str, question: str = "") -> str:
    """The one word that a text states, in small letters.

    Raises:
        NoReading: none, or several.

    >>> read_word("Lamp."), read_word("The word is lamp.")
    ('lamp', 'lamp')
    """
    short = extract_short_answer(text)
    words = _WORD.findall(short)
    if len(words) == 1:
        return str(words[0]).casefold()
    asked = {word.casefold() for word in _QUOTED.findall(question)}
    quoted = {word.casefold() for word in _QUOTED.findall(short)} - asked
    if len(quoted) == 1:
        return str(quoted.pop())
    found = _IS.search(short.strip())
    if found and not quoted:
        return str(found[1]).casefold()
    raise NoReading(f"{len(quoted)} words in quotes" if quoted else "no single word in the answer")
