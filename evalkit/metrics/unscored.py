"""The metric of splits without public answers: none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.metrics.base import Answer, MeanMetric, Score, Scored


@dataclass(frozen=True)
class Unscored(MeanMetric):
    """Gives no score; the answers become a submission file instead."""

    name: str = "submission"

    def score(self, answer: Answer) -> Score:
        """Keep the answer as it is."""
        return Score(None, parsed=answer.prediction.strip())

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Return no figures."""
        return {}
