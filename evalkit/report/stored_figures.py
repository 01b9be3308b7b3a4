"""Figures of benchmarks that another program has scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.metrics.base import Answer, Score, Scored


@dataclass(frozen=True)
class StoredFigures:
    """Figures that were computed when a run was scored."""

    name: str
    range: tuple[float, float]
    figures: Mapping[str, float] = field(default_factory=dict)

    def score(self, answer: Answer) -> Score:
        """Give no score: it is in the record."""
        return Score(None)

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Return what was stored."""
        return dict(self.figures)


def limits_of(figures: Sequence[float]) -> tuple[float, float]:
    """The range of a score whose metric doesn't say it: a fraction, else a percentage, else up to
    the highest score.
    """
    top = max((abs(value) for value in figures), default=0.0)
    return (0.0, next((bound for bound in (1.0, 100.0) if top <= bound), top))
