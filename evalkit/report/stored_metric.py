"""The metric of a stored evaluation, without its task: built from the manifest, or figures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.metrics.base import Answer, Metric, Score, Scored, ScoringUnit, mean_with_breakdown
from evalkit.metrics.description import build_metric
from evalkit.store import Evaluation, ScoredWith


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


@dataclass(frozen=True)
class StoredMean(StoredFigures):
    """A metric whose primary figure is a mean over answers: figures of all ``count`` of them are stored ones,
    those of a part of them are means.
    """

    count: int = 0

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Return the stored figures, or, of a part of the answers, means."""
        return dict(self.figures) if len(items) == self.count else mean_with_breakdown(self.name, items)


@dataclass(frozen=True)
class StoredUnits(StoredMean):
    """A metric that scores several answers together, as only its code can: there are no figures of a part of
    the answers, and no intervals.
    """

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Return the stored figures, or, of a part of the answers, none."""
        return dict(self.figures) if len(items) == self.count else {}

    def units(self, items: Sequence[Scored]) -> list[ScoringUnit]:
        """Return none: see :class:`evalkit.metrics.base.UnitMetric`."""
        return []


def stored_metric(evaluation: Evaluation, known: ScoredWith) -> Metric:
    """The metric that scored an evaluation: one of evalkit's own, built from its parameters; else its stored
    figures. No task is loaded, and nothing of a run is executed.

    Raises:
        ValueError: this evalkit has no such metric.
    """
    if known.parameters is not None:
        return build_metric(known.metric, known.parameters)
    made = StoredUnits if known.by_units else StoredMean
    return made(evaluation.task.metric, evaluation.task.range, known.figures or {}, known.count)
