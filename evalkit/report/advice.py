"""Which arm is best by a user's weights of tasks, how sure that is, and how many more samples would tell."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.core.errors import UsageError, did_you_mean
from evalkit.metrics.base import Metric
from evalkit.report.aggregate import CATEGORIES, BenchmarkColumn, tasks_by_row
from evalkit.report.comparison import Comparison
from evalkit.report.differences import FindMetric, RecordsByTask, pairs
from evalkit.report.intervals import LEVEL
from evalkit.report.paired import POWER
from evalkit.report.repetitions import by_repetition
from evalkit.store.records_table import ScoreRow, score_rows

RESAMPLES = 4000
_SEED = 20251023

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranked:
    """One arm: its weighted score (a fraction), the 95% interval of it, and the probability that it is
    the best of all.
    """

    arm: str
    score: float
    low: float
    high: float
    best: float


@dataclass(frozen=True)
class Advice:
    """Arms from best to worst.

    ``settled``: the first is the best with 95% probability. ``factor``: how many times as many samples would
    tell it from the second with 80% power, if their true difference is the one seen.
    """

    ranked: tuple[Ranked, ...]
    weights: Mapping[str, float]
    settled: bool
    factor: float

    def verdict(self) -> str:
        """The advice in one or two sentences."""
        first = self.ranked[0]
        if len(self.ranked) < 2:
            return f"There is only {first.arm}."
        second = self.ranked[1]
        if self.settled:
            return f"Take {first.arm}: it is the best with a probability of {first.best:.0%}."
        lead = 100 * (first.score - second.score)
        if not math.isfinite(self.factor):
            return f"The data can't tell {first.arm} from {second.arm}: their scores are the same."
        return (
            f"The data can't tell: {first.arm} leads {second.arm} by {lead:.1f} points, and is the best with "
            f"a probability of {first.best:.0%}. About {self.factor:.1f} times as many samples would settle "
            "it, if the difference is real."
        )


def advise(
    comparison: Comparison,
    records: Mapping[str, RecordsByTask],
    metric_of: FindMetric,
    weights: Mapping[str, float] | None = None,
) -> Advice:
    """Rank arms by their weighted mean over benchmarks.

    Whole clusters (images, videos) are resampled, the same ones for every arm, so that what is hard for
    all arms doesn't blur their order. Without ``weights``, every category counts alike, and every
    benchmark of a category, as in the paper's overall mean.

    Raises:
        UsageError: a weight matches no benchmark, or an arm lacks one that has a weight.
    """
    chosen = resolve_weights(comparison.columns, weights)
    arms = [arm.name for arm in comparison.arms]
    generator = np.random.default_rng(_SEED)
    total: Floats = np.zeros((RESAMPLES, len(arms)))
    scores: Floats = np.zeros(len(arms))
    for column in comparison.columns:
        weight = chosen.get(column.task, 0.0)
        if weight == 0:
            continue
        metric = metric_of(arms[0], column.task)
        table = _table(
            metric, column.task, arms, [score_rows(records[arm].get(column.task, ())) for arm in arms]
        )
        low, high = column.limits
        scores += weight * (_means(table.sum(axis=0, keepdims=True))[0] - low) / (high - low)
        total += weight * (_resampled(table, generator) - low) / (high - low)
    return _advice(arms, scores, total, chosen)


def resolve_weights(
    columns: Sequence[BenchmarkColumn], weights: Mapping[str, float] | None
) -> dict[str, float]:
    """A weight for every benchmark, adding up to 1; names may be globs or categories, whose weight is
    shared by what they match.

    Raises:
        UsageError: a name matches nothing, or no weight is above 0.
    """
    if weights is None:
        categories = [each for each in CATEGORIES if any(column.category == each for column in columns)]
        weights = dict.fromkeys(categories, 1.0)
    found: dict[str, float] = {}
    for name, weight in weights.items():
        matching = [
            column for column in columns if name == column.category or fnmatch.fnmatch(column.task, name)
        ]
        if not matching:
            known = [*(column.task for column in columns), *CATEGORIES]
            raise UsageError(
                f"weight for `{name}`",
                f"no benchmark matches.{did_you_mean(name, known)}",
                "name one of the runs'",
            )
        rows = tasks_by_row(matching)
        for tasks in rows.values():
            for task in tasks:
                found[task] = found.get(task, 0.0) + weight / len(rows) / len(tasks)
    total = sum(found.values())
    if total <= 0 or any(weight < 0 for weight in found.values()):
        raise UsageError("weights", "none is above 0, or one is below", "give numbers from 0")
    return {task: weight / total for task, weight in found.items()}


def _table(metric: Metric, task: str, arms: Sequence[str], sides: Sequence[Sequence[ScoreRow]]) -> Floats:
    """``[clusters, 1 + arms]``: weights, then every arm's weighted scores of the samples that all have."""
    scored = ({row.sample_id for row in by_repetition(side)[0]} for side in sides)
    shared = set.intersection(*scored)
    if not shared:
        raise UsageError(f"benchmark `{task}`", f"{', '.join(arms)} share no scored sample", "leave it out")
    kept = [[record for record in side if record.sample_id in shared] for side in sides]
    columns = [pairs(metric, kept[0], side) for side in kept]
    rows: dict[str, Floats] = {}
    for units in zip(*columns, strict=True):
        row = rows.setdefault(units[0].cluster, np.zeros(1 + len(arms)))
        row += units[0].weight * np.asarray([1.0, *(unit.second for unit in units)])
    return np.asarray(list(rows.values()))


def _resampled(table: Floats, generator: np.random.Generator) -> Floats:
    """Means of every arm under resampling of clusters; like ones are drawn together (see ``paired``)."""
    kinds, counts = np.unique(table, axis=0, return_counts=True)
    draws = generator.multinomial(int(counts.sum()), counts / counts.sum(), size=RESAMPLES)
    return _means(draws @ kinds)


def _means(sums: Floats) -> Floats:
    means: Floats = sums[:, 1:] / sums[:, :1]
    return means


def _advice(arms: Sequence[str], scores: Floats, total: Floats, weights: Mapping[str, float]) -> Advice:
    from scipy.stats import norm

    top = total.max(axis=1, keepdims=True)
    ties = total >= top - 1e-12
    best = (ties / ties.sum(axis=1, keepdims=True)).mean(axis=0)
    lows, highs = np.quantile(total, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    order = sorted(range(len(arms)), key=lambda place: (-scores[place], arms[place]))
    ranked = tuple(
        Ranked(arms[n], float(scores[n]), float(lows[n]), float(highs[n]), float(best[n])) for n in order
    )
    factor = 1.0
    if len(order) > 1:
        first, second = order[:2]
        lead = float(scores[first] - scores[second])
        spread = float((total[:, first] - total[:, second]).std())
        needed = float(norm.ppf((1 + LEVEL) / 2) + norm.ppf(POWER)) * spread
        factor = math.inf if lead <= 0 else max(1.0, (needed / lead) ** 2)
    return Advice(ranked, weights, ranked[0].best >= LEVEL, factor)
