"""Figures of benchmarks that another program has scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.metrics.base import Answer, Score, Scored


@dataclass(frozen=True)
class StoredFigures:
    """A metric whose figures were computed, and stored, when the run was scored."""

    name: str
    range: tuple[float, float]
    figures: Mapping[str, float] = field(default_factory=dict)

    def score(self, answer: Answer) -> Score:
        """Return no score: the record has it."""
        return Score(None)

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Return the stored figures."""
        return dict(self.figures)


def limits_of(figures: Sequence[float]) -> tuple[float, float]:
    """The range of an external metric, guessed from its figures: 0 to 1, 0 to 100, or up to the highest."""
    top = max((abs(value) for value in figures), default=0.0)
    return (0.0, next((bound for bound in (1.0, 100.0) if top <= bound), top))
