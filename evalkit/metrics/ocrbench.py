"""OCRBench: does the answer contain the text that is asked for?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.metrics.base import (
    Answer,
    MeanMetric,
    Score,
    Scored,
    breakdown_suffixes,
    check_texts,
    mean_with_breakdown,
    text_references,
)

# Formulas are compared as written, but without spaces.
_FORMULAS = "HME100k"


@dataclass(frozen=True)
class OcrBenchAccuracy(MeanMetric):
    """Right is an answer that contains one of the accepted texts (lower case, line breaks as spaces;
    for data set ``HME100k`` case matters and spaces don't), as in the official ``example.py``
    (commit 794c36d). The official score is ``final_score``, the number of right answers, out of 1000.

    >>> OcrBenchAccuracy().score(Answer("It says CENTRE.", ["Centre"])).value
    1.0
    """

    name: str = "acc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer; ``dataset`` among its groups names where the question is from.

        Raises:
            ValueError: the reference is neither a text nor a list of texts.
        """
        formula = answer.groups.get("dataset") == _FORMULAS
        given = _plain(answer.prediction, formula)
        right = any(_plain(text, formula) in given for text in text_references(answer.reference))
        return Score(float(right), parsed=given)

    def check(self, answer: Answer) -> None:
        """See :class:`~evalkit.metrics.base.ReferenceCheck`."""
        check_texts(answer.reference, contained=True)

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """``acc`` and its breakdown; ``final_score``, and ``count/...`` for every group."""
        counts = {"final_score": 0.0}
        for item in items:
            if item.score.value is not None:
                counts["final_score"] += item.score.value
                for label in breakdown_suffixes(item.groups):
                    name = f"count{label}"
                    counts[name] = counts.get(name, 0.0) + item.score.value
        return {**mean_with_breakdown(self.name, items), **counts}


def _plain(text: str, formula: bool) -> str:
    if formula:
        return text.strip().replace("\n", " ").replace(" ", "")
    return text.lower().strip().replace("\n", " ")
