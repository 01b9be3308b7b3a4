"""Accuracy of multiple-choice answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evalkit.metrics.base import (
    Answer,
    MeanMetric,
    Score,
    Scored,
    breakdown_suffixes,
    mean,
    mean_with_breakdown,
)
from evalkit.metrics.choice_reading import ChoiceReading, contradiction, read_choice

Reader = Callable[[str, Mapping[str, str]], "str | ChoiceReading | None"]


@dataclass(frozen=True)
class MultipleChoice(MeanMetric):
    """Accuracy over option letters; an answer without a readable choice is wrong, never guessed.

    ``read`` turns a text and the options (letter to text) into the letter that it chooses, or
    None; benchmarks whose authors have a rule of their own put it here (:mod:`.letters`). Without it,
    :func:`read_choice` does. The name of the rule that read an answer is stored with its score; where the
    authors' rule and ours read different letters, theirs counts and the answer is a parse failure. ``macro``
    names a group whose labels' unweighted mean is reported too, as ``macro_acc``. With ``answered``,
    the accuracy over answers with a readable choice is reported as ``official_acc``.

    >>> metric = MultipleChoice()
    >>> metric.score(Answer("The answer is (B).", "B")).value
    1.0
    >>> metric.score(Answer("A dog runs", "A")).parse_error
    'no option was chosen'
    """

    read: Reader | None = None
    macro: str | None = None
    answered: bool = False
    name: str = "acc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer; ``answer.reference`` is the right option's letter.

        Raises:
            ValueError: the reference is not a letter of the options.
        """
        right = letter_reference(answer)
        found = self._read(answer)
        if found.letter is None:
            return Score(0.0, parse_error="no option was chosen")
        if answer.options and found.letter not in answer.options:
            return Score(
                0.0, parsed=found.letter, parse_error=f"{found.letter!r} is no option", rule=found.rule
            )
        doubt = None if self.read is None else contradiction(answer, found.letter)
        return Score(float(found.letter == right), found.letter, doubt, rule=found.rule)

    def _read(self, answer: Answer) -> ChoiceReading:
        if self.read is None:
            return read_choice(answer.prediction, answer.options, answer.question)
        found = self.read(answer.prediction, answer.options)
        if isinstance(found, ChoiceReading):
            return found
        return ChoiceReading(found, None if found is None else getattr(self.read, "__name__", None))

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Accuracy over all answers and over every label of every group; then ``macro_acc``, and
        ``official_acc`` with its breakdown (NaN where nothing was answered).
        """
        figures = mean_with_breakdown(self.name, items)
        if self.macro is not None:
            prefix = f"{self.name}/{self.macro}/"
            figures["macro_acc"] = mean([value for key, value in figures.items() if key.startswith(prefix)])
        if self.answered:
            figures |= self._over_answered(items)
        return figures

    def _over_answered(self, items: Sequence[Scored]) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for item in items:
            for label in ("", *breakdown_suffixes(item.groups)):
                values = found.setdefault(f"official_acc{label}", [])
                if item.score.value is not None and item.score.parsed is not None:
                    values.append(item.score.value)
        return {name: mean(values) for name, values in found.items()}


def extract_letter(text: str, options: Mapping[str, str], question: str = "") -> str | None:
    r"""The upper-case letter that ``text`` chooses, or None where that can't be told (:func:`read_choice`).

    >>> extract_letter("c", {}), extract_letter("(B) a dog", {}), extract_letter("I choose D!", {})
    ('C', 'B', 'D')
    >>> extract_letter("It is a red car.", {"A": "a blue car", "B": "a red car"})
    'B'
    >>> extract_letter("either A or B", {}) is None
    True
    """
    return read_choice(text, options, question).letter


def letter_reference(answer: Answer) -> str:
    """The right option's letter, which may stand in brackets.

    Raises:
        ValueError: the reference is not one letter, or not one of the options.
    """
    found = re.fullmatch(r"([A-Z])|\(([A-Z])\)", str(answer.reference))
    if not found:
        raise ValueError(f"the reference must be an option's letter, not {answer.reference!r}")
    right = found[1] or found[2]
    if answer.options and right not in answer.options:
        raise ValueError(f"the reference {right} is not among the options {', '.join(answer.options)}")
    return right
