"""From scored records to figures: by label, by benchmark, by category, overall."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.core.types import Category
from evalkit.metrics.base import (
    FileMetric,
    MeanMetric,
    Metric,
    Scored,
    ScoringUnit,
    UnitMetric,
    group_labels,
    mean,
)
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
    """A mean of ``n`` scores with its 95% interval; ``spread`` is the standard deviation between training
    seeds (NaN for one checkpoint).
    """

    value: float
    low: float
    high: float
    n: int
    spread: float = math.nan


@dataclass(frozen=True)
class Cell:
    """The score of one arm on one benchmark.

    ``estimate`` is the primary figure over the samples that have a score, of ``expected`` in all. ``counts``
    has the samples behind each of ``RATES``, ``figures`` everything that the benchmark's authors report, and
    ``breakdown`` an estimate by group and label. ``unreliable`` names the rates that are over their limits.
    Over several training seeds, ``by_seed`` has the score of each checkpoint, and ``counts`` are over all.
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
    by_seed: Mapping[str, float] = field(default_factory=dict)
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
    of_file: Mapping[str, float] | None = None,
) -> Cell:
    """Aggregate one arm's scored records of one benchmark, in the data set's order.

    ``seed`` is that of official scripts which draw an answer where they can read none; ``limits`` are the
    shares of samples above which a flag makes the score unreliable. ``of_file`` are the
    :func:`file_figures` of these records, where they are known.
    """
    every = score_rows(records)
    scored = [each for each in every if value_of(each) is not None]
    figures = metric.summarise(_items(scored))
    figures |= file_figures(records, metric, seed) if of_file is None else of_file
    plain = _is_mean(metric) and figures.get(metric.name) == mean(_values(scored))
    breakdown = {
        group: {
            label: _estimate(metric, found, column.limits, plain)
            for label, found in sorted(labels.items(), key=_label_order)
        }
        for group, labels in by_label(scored).items()
    }
    return Cell(
        arm=arm,
        task=column.task,
        estimate=_estimate(metric, scored, column.limits, plain),
        expected=expected,
        counts={
            rate: sum(not set(flags).isdisjoint(each.flags) for each in every)
            for rate, flags in RATES.items()
        },
        figures=figures,
        breakdown=breakdown,
        unreliable=_unreliable(every, limits or {}),
    )


def _label_order(entry: tuple[str, object]) -> tuple[float, str]:
    """Numbers by their size, before texts by the alphabet."""
    label = entry[0]
    return (float(label) if label.isascii() and label.isdecimal() else math.inf, label)


def by_label(rows: Iterable[ScoreRow]) -> dict[str, dict[str, list[ScoreRow]]]:
    """The samples of each label of each breakdown."""
    members: dict[str, dict[str, list[ScoreRow]]] = {}
    counted: dict[int, list[list[ScoreRow]]] = {}  # samples with the same labels share the mapping of them
    for row in rows:
        known = counted.get(id(row.groups))
        if known is None:
            known = counted[id(row.groups)] = [
                members.setdefault(group, {}).setdefault(label, [])
                for group, labels in row.groups.items()
                for label in group_labels(labels)
            ]
        for found in known:
            found.append(row)
    return members


def file_figures(records: Sequence[Record], metric: Metric, seed: int | None) -> dict[str, float]:
    """The figures of an official script that reads the whole file: for these every answer is decoded."""
    if not isinstance(metric, FileMetric):
        return {}
    every = score_rows(records)
    known = [value_of(each) is not None for each in every]
    scores = [each.score for each in every if each.score is not None and each.score.value is not None]
    answers = [record.answer() for record in filtered(records, known)]
    return metric.file_figures(answers, scores, seed) if answers else {}


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


def _is_mean(metric: Metric) -> bool:
    """Whether a metric says that its primary figure is the mean of the answers' values."""
    return isinstance(metric, MeanMetric) and not isinstance(metric, UnitMetric)


def _values(records: Iterable[ScoreRow]) -> list[float]:
    return [record.score.value or 0.0 for record in records if record.score is not None]


def _estimate(
    metric: Metric, records: Sequence[ScoreRow], limits: tuple[float, float], plain: bool = False
) -> Estimate:
    """The primary figure over some records, with its interval: over the answers, or over what the
    metric takes the mean of. ``plain``: the figure is known to be the mean of the answers' values.
    """
    if plain:
        values = _values(records)
        low, high = interval(values, [record.cluster_id for record in records], limits)
        return Estimate(mean(values), low, high, len(records))
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
