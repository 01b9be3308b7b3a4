"""Short answers that must be equal: letters of options, words and numbers (RealWorldQA)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evalkit.metrics.base import Answer, NoReading, Score, TextMetric
from evalkit.metrics.choice import MultipleChoice
from evalkit.metrics.short_text import extract_short_answer
from evalkit.metrics.vqa import normalise


@dataclass(frozen=True)
class ExactAnswer(TextMetric):
    """Accuracy where the reference is an option's letter (for questions with options) or a word or
    number, which must be equal but for case, punctuation, articles and number words. There is no official
    script: :func:`.short_text.extract_short_answer` finds the answer in a longer text.

    >>> metric = ExactAnswer()
    >>> metric.score(Answer("Two.", "2")).value, metric.score(Answer("(A)", "A", options={"A": "x"})).value
    (1.0, 1.0)
    """

    name: str = "acc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer.

        Raises:
            ValueError: the reference is no text.
        """
        if not isinstance(answer.reference, str):
            raise ValueError(f"the reference must be a text, not {answer.reference!r}")
        if answer.options and re.fullmatch("[A-Z]", answer.reference):
            return MultipleChoice().score(answer)
        try:
            given = normalise(extract_short_answer(answer.prediction))
        except NoReading as problem:
            return Score(0.0, parse_error=str(problem))
        return Score(float(given == normalise(answer.reference)), parsed=given)
