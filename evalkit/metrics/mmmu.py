"""MMMU's own reading of answers: multiple choice and open questions.

Written after ``eval_utils.py`` of the MMMU repository (commit bb0b95a), whose rules are kept
exactly, odd ones included, so that its published scores are reproduced.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.metrics.base import (
    Answer,
    MeanMetric,
    Score,
    Scored,
    check_texts,
    mean_with_breakdown,
    text_references,
)
from evalkit.metrics.choice_reading import contradiction

OFFICIAL_SEED = 42
DISCIPLINES: Mapping[str, tuple[str, ...]] = {
    "Art & Design": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Health & Medicine": (
        "Basic_Medical_Science",
        "Clinical_Medicine",
        "Diagnostics_and_Laboratory_Medicine",
        "Pharmacy",
        "Public_Health",
    ),
    "Humanities & Social Science": ("History", "Literature", "Psychology", "Sociology"),
    "Tech & Engineering": (
        "Agriculture",
        "Architecture_and_Engineering",
        "Computer_Science",
        "Electronics",
        "Energy_and_Power",
        "Materials",
        "Mechanical_Engineering",
    ),
}
_DISCIPLINE_OF = {subject: title for title, subjects in DISCIPLINES.items() for subject in subjects}
_CUES = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    # A number begins where its digits do: the official patterns try every later digit too, and find the same.
    re.compile(r"-?(?<!\d)\d++(?:\.\d++)?[eE][+-]?\d+"),
    re.compile(r"-?(?:(?<!\d)\d++\.\d+|\.\d+|(?<!\d)\d++\b)(?![eE][+-]?\d)(?![,\d])"),
)


@dataclass(frozen=True)
class MmmuAccuracy(MeanMetric):
    """Accuracy over all questions, 6 disciplines and 30 subjects.

    A question with options is multiple choice. Where no option can be read, the official script
    draws one at random; here such an answer is wrong and counted as a parse failure.
    :meth:`file_figures` gives the official figures beside it.

    >>> options = {"A": "red", "B": "green"}
    >>> MmmuAccuracy().score(Answer("(A) or rather (B)", "B", options=options)).value
    1.0
    >>> MmmuAccuracy().score(Answer("So the result is 1,200.0 m", "1200")).value
    1.0
    """

    name: str = "acc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer; the reference is a letter (with options) or accepted texts.

        Raises:
            ValueError: the reference is neither.
        """
        accepted = text_references(answer.reference)
        if answer.options:
            chosen = parse_choice(answer.prediction, answer.options)
            if chosen is None:
                return Score(0.0, parse_error="no option was chosen")
            return Score(float(chosen in accepted), chosen, contradiction(answer, chosen), rule="mmmu")
        candidates = parse_open(answer.prediction)
        wanted = [form for text in accepted for form in _forms(text)]
        right = any(_agrees(candidate, wanted) for candidate in candidates)
        return Score(float(right), parsed=[str(candidate) for candidate in candidates])

    def check(self, answer: Answer) -> None:
        """See :class:`~evalkit.metrics.base.ReferenceCheck`."""
        check_texts(answer.reference, contained=not answer.options)
        others = [text for text in text_references(answer.reference) if text not in answer.options]
        if answer.options and others:
            raise ValueError(f"the answer {others[0]!r} is none of the options {', '.join(answer.options)}")

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Accuracy over all answers, disciplines (derived from ``subject``) and other groups."""
        return mean_with_breakdown(self.name, [_with_discipline(item) for item in items])

    def file_figures(
        self, answers: Sequence[Answer], scores: Sequence[Score], seed: int | None
    ) -> dict[str, float]:
        """``official_acc`` and its breakdown: with the official script's random fallback.

        ``answers`` must be in the order in which the official script reads them, since each
        unreadable one draws the next number from one generator.
        """
        drawn = with_random_choice(answers, scores, OFFICIAL_SEED if seed is None else seed)
        items = [Scored(score, answer.groups) for answer, score in zip(answers, drawn, strict=True)]
        return mean_with_breakdown("official_acc", [_with_discipline(item) for item in items])


def with_random_choice(answers: Sequence[Answer], scores: Sequence[Score], seed: int) -> list[Score]:
    """Give each multiple-choice answer that could not be read a random option, as MMMU does."""
    generator = random.Random(seed)  # noqa: S311 - the official script's own generator
    drawn = []
    for answer, score in zip(answers, scores, strict=True):
        if answer.options and score.parsed is None:
            chosen = generator.choice(list(answer.options))
            score = replace(score, value=float(chosen in text_references(answer.reference)), parsed=chosen)
        drawn.append(score)
    return drawn


def parse_choice(text: str, options: Mapping[str, str]) -> str | None:
    """The option that a text chooses, or None.

    Letters in brackets, else letters between spaces, else (in texts of more than five words)
    option texts; of several, the one that stands last.
    """
    for mark in (",", ".", "!", "?", ";", ":", "'"):
        text = text.strip(mark)
    text = f" {text} "
    lowered = text.lower()
    found = _last(options, lambda letter: text.rfind(f"({letter})"))
    found = found or _last(options, lambda letter: text.rfind(f" {letter} "))
    if found is None and len(text.split()) > 5:
        found = _last(options, lambda letter: lowered.rfind(options[letter].lower()))
    return found


def parse_open(text: str) -> list[str | float]:
    """Candidate answers of an open question: lower-case texts, and numbers to two decimals.

    The candidates are what follows the last cue ("so", "is", "answer", ...) of each sentence,
    or the whole text where there is no cue, and every number in them.
    """
    phrases = _key_phrases(text)
    numbers = [number for phrase in phrases for pattern in _NUMBERS for number in pattern.findall(phrase)]
    return list(dict.fromkeys(form for part in (*phrases, *numbers) for form in _forms(part)))


def _last(options: Mapping[str, str], place: Callable[[str], int]) -> str | None:
    """The letter whose ``place`` in the text is furthest right; the first of equal ones."""
    places = {letter: place(letter) for letter in options}
    found = [letter for letter in options if places[letter] >= 0]
    return max(found, key=places.__getitem__) if found else None


def _key_phrases(text: str) -> list[str]:
    text = text.strip().strip(".").lower()
    # The official pattern also splits after a full stop before a capital; the text is in lower
    # case by then, so it never does.
    lines = text.split("\n")
    found = []
    for number, line in enumerate(lines, start=1):
        cues = (*_CUES, "=") if number == len(lines) else _CUES
        shortest = ""
        for cue in cues:
            tail = line.rpartition(cue)[2].strip()
            if cue in line and (not shortest or len(tail) < len(shortest)):
                shortest = tail
        if shortest and shortest not in (":", ",", ".", "!", "?", ";", "'"):
            found.append(shortest)
    return found or [text]


def _forms(text: str) -> list[str | float]:
    """The number that a text is, or the text in lower case; one character gets a space on
    either side, so that it doesn't match within words.
    """
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        lowered = text.lower()
        return [f" {lowered}", f"{lowered} "] if len(lowered) == 1 else [lowered]


def _agrees(candidate: str | float, wanted: Sequence[str | float]) -> bool:
    if isinstance(candidate, str):
        return any(isinstance(text, str) and text in candidate for text in wanted)
    return candidate in wanted


def _with_discipline(item: Scored) -> Scored:
    subject = item.groups.get("subject")
    if "discipline" in item.groups or not isinstance(subject, str) or subject not in _DISCIPLINE_OF:
        return item
    return replace(item, groups={"discipline": _DISCIPLINE_OF[subject], **item.groups})
