"""From scored records to figures: by label, by benchmark, by category, overall."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.core.types import Category
from evalkit.metrics.base import FileMetric, Metric, Scored, ScoringUnit, UnitMetric, group_labels
from evalkit.report.intervals import interval
from evalkit.store.records import Record
from evalkit.store.records_table import ScoreRow, filtered, score_rows

BY_LOGITS = "by option logits"
"""End of a metric's name where multiple choice was answered by the likeliest letter."""

CATEGORIES: tuple[Category, ...] = ("image", "video", "grounding")
RATES: Mapping[str, tuple[str, ...]] = {
    "error": ("error",),
    "truncated or empty": ("truncated", "empty"),
    "truncated in reasoning": ("truncated_reasoning",),
    "unparsed": ("unparsed",),
    "repeating": ("repeating",),
}
"""Failure rates beside every score, and the flags that count in each; a sample may count in several."""


@dataclass(frozen=True)
class BenchmarkColumn:
    """A benchmark of a comparison; its metric lies within ``limits``.

    Benchmarks with the same ``row`` (MMBench in two languages) are one row of the paper's table, their mean.
    """

    task: str
    category: Category
    title: str
    metric: str
    limits: tuple[float, float]
    row: str | None = None


@dataclass(frozen=True)
class Estimate:
    """A mean of ``n`` scores with its 95% interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Cell:
    """The score of one arm on one benchmark.

    ``estimate`` is the primary figure over the samples that have a score, of ``expected`` in all. ``counts``
    has the samples behind each of ``RATES``, ``figures`` everything that the benchmark's authors report, and
    ``breakdown`` an estimate by group and label. ``unreliable`` names the rates that are over their limits.
    With several answers to a question (``repetitions``) these are means over them, ``counts`` are of all
    answers, and ``repeated`` has pass@k and the vote of the majority (:mod:`evalkit.report.repetitions`).
    """

    arm: str
    task: str
    estimate: Estimate
    expected: int
    counts: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    breakdown: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    unreliable: Sequence[str] = ()
    repetitions: int = 1
    repeated: Mapping[str, float] = field(default_factory=dict)

    @property
    def answers(self) -> int:
        """How many answers there are when all are there."""
        return self.expected * self.repetitions

    @property
    def whole(self) -> bool:
        """Whether every sample has a score."""
        return self.estimate.n == self.expected


def make_cell(
    arm: str,
    column: BenchmarkColumn,
    records: Sequence[Record],
    expected: int,
    metric: Metric,
    seed: int | None = None,
    limits: Mapping[str, float] | None = None,
) -> Cell:
    """Aggregate one arm's scored records of one benchmark, in the data set's order.

    ``seed`` is that of official scripts which draw an answer where they can read none; ``limits`` are the
    shares of samples above which a flag makes the score unreliable.
    """
    every = score_rows(records)
    known = [value_of(each) is not None for each in every]
    scored = [each for each, has in zip(every, known, strict=True) if has]
    figures = metric.summarise(_items(scored))
    if isinstance(metric, FileMetric) and scored:
        scores = [each.score for each in scored if each.score is not None]
        answers = [record.answer() for record in filtered(records, known)]
        figures |= metric.file_figures(answers, scores, seed)
    members: dict[str, dict[str, list[ScoreRow]]] = defaultdict(lambda: defaultdict(list))
    for record in scored:
        for group, labels in record.groups.items():
            for label in group_labels(labels):
                members[group][label].append(record)
    breakdown = {
        group: {label: _estimate(metric, found, column.limits) for label, found in sorted(labels.items())}
        for group, labels in members.items()
    }
    return Cell(
        arm=arm,
        task=column.task,
        estimate=_estimate(metric, scored, column.limits),
        expected=expected,
        counts={
            rate: sum(not set(flags).isdisjoint(each.flags) for each in every)
            for rate, flags in RATES.items()
        },
        figures=figures,
        breakdown=breakdown,
        unreliable=_unreliable(every, limits or {}),
    )


def value_of(row: ScoreRow) -> float | None:
    """A sample's score, if it has one."""
    return row.score.value if row.score else None


def _unreliable(records: Sequence[ScoreRow], limits: Mapping[str, float]) -> tuple[str, ...]:
    """The rates that are over their limits, in words."""
    shares = {
        flag: sum(flag in record.flags for record in records) / len(records) for flag in limits if records
    }
    return tuple(
        f"{share:.1%} {flag} (limit {limits[flag]:.1%})"
        for flag, share in shares.items()
        if share > limits[flag]
    )


def category_means(cells: Mapping[str, Cell], columns: Sequence[BenchmarkColumn]) -> dict[str, float | None]:
    """The unweighted mean of each category's rows, as in the paper, their mean as ``overall``, and the
    mean of each row that several benchmarks share; None where a benchmark of the table is missing,
    rather than a mean over fewer.
    """
    shared = {
        row: unweighted([_fraction(cells.get(task), columns) for task in tasks])
        for row, tasks in tasks_by_row(columns).items()
    }
    means: dict[str, float | None] = {}
    for category in CATEGORIES:
        rows = tasks_by_row([column for column in columns if column.category == category])
        if rows:
            means[category] = unweighted([shared[row] for row in rows])
    means["overall"] = unweighted(list(means.values()))
    return means | {row: shared[row] for row, tasks in tasks_by_row(columns).items() if len(tasks) > 1}


def tasks_by_row(columns: Sequence[BenchmarkColumn]) -> dict[str, list[str]]:
    """The tasks behind each row of the paper's table, in order; a task without one is its own."""
    found: dict[str, list[str]] = {}
    for column in columns:
        found.setdefault(column.row or column.task, []).append(column.task)
    return found


def unweighted(values: Iterable[float | None]) -> float | None:
    """The mean, or None if any value is missing or there is none.

    >>> unweighted([0.5, 0.7]), unweighted([0.5, None])
    (0.6, None)
    """
    known = list(values)
    if not known or any(value is None or math.isnan(value) for value in known):
        return None
    return sum(value for value in known if value is not None) / len(known)


def _fraction(cell: Cell | None, columns: Sequence[BenchmarkColumn]) -> float | None:
    """A score on the scale 0 to 1, so that benchmarks of different ranges can be averaged."""
    if cell is None or not cell.whole:
        return None
    low, high = next(column.limits for column in columns if column.task == cell.task)
    return (cell.estimate.value - low) / (high - low)


def _estimate(metric: Metric, records: Sequence[ScoreRow], limits: tuple[float, float]) -> Estimate:
    """The primary figure over some records, with its interval: over the answers, or over what the
    metric takes the mean of.
    """
    items = _items(records)
    if isinstance(metric, UnitMetric):
        units = metric.units(items)
    else:
        units = [ScoringUnit(place, item.score.value or 0.0) for place, item in enumerate(items)]
    clusters = [records[unit.place].cluster_id for unit in units]
    low, high = interval([unit.value for unit in units], clusters, limits, [unit.weight for unit in units])
    return Estimate(metric.summarise(items).get(metric.name, math.nan), low, high, len(records))


def _items(records: Sequence[ScoreRow]) -> list[Scored]:
    return [Scored(record.score, record.labels) for record in records if record.score is not None]
