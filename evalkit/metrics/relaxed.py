"""Relaxed accuracy: ChartQA's metric."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.metrics.base import Answer, Score, TextMetric, text_references


@dataclass(frozen=True)
class RelaxedAccuracy(TextMetric):
    """Numbers may be off by ``tolerance`` of the reference, other texts must be equal.

    The rule of Masry et al. (2022) as published in pix2struct: where both texts read as numbers
    (``12%`` is 0.12) and the reference is not 0, their relative difference decides; otherwise
    equality without regard to case. There is no handling of thousands separators, currency,
    units or full stops, and years get the tolerance too: 2014 is right where 1914 is asked for.

    >>> metric = RelaxedAccuracy()
    >>> [metric.score(Answer(text, "100")).value for text in ("105", "106", "1e2", "100 km", "$100")]
    [1.0, 0.0, 1.0, 0.0, 0.0]
    """

    tolerance: float = 0.05
    name: str = "relaxed_accuracy"

    def score(self, answer: Answer) -> Score:
        """Judge one answer against a text, or against the best of several.

        Raises:
            ValueError: the reference is neither a text nor a list of texts.
        """
        text = answer.prediction
        right = any(self._matches(text, accepted) for accepted in text_references(answer.reference))
        number = _number(text)
        readable = number is not None and abs(number) < float("inf")
        return Score(float(right), parsed=number if readable else text.strip())

    def _matches(self, text: str, accepted: str) -> bool:
        given, wanted = _number(text), _number(accepted)
        if given is not None and wanted:
            return abs(given - wanted) / abs(wanted) <= self.tolerance
        return text.lower() == accepted.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
