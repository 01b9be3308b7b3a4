"""From scored records to figures: sub-category, benchmark, category mean, overall."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.metrics.base import Metric, Scored, Unit, UnitMetric
from evalkit.report.stats import interval
from evalkit.store.records import Record
from evalkit.types import Category

CATEGORIES: tuple[Category, ...] = ("image", "video", "grounding")
# The four rates that stand beside every score; a sample may count in several.
RATES: Mapping[str, tuple[str, ...]] = {
    "error": ("error",),
    "truncated or empty": ("truncated", "empty"),
    "unparsed": ("unparsed",),
    "repeating": ("repeating",),
}


@dataclass(frozen=True)
class Column:
    """A benchmark as a column of a table."""

    task: str
    category: Category
    title: str
    metric: str
    limits: tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A mean of ``n`` scores with its 95% interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Cell:
    """What one arm reached on one benchmark.

    ``estimate`` is the primary figure over the samples that have a score; ``expected`` is how
    many there should be. ``counts`` has the samples behind each of the four rates. ``figures``
    is everything that the benchmark's authors report; ``breakdown`` maps group and label to the
    estimate within it.
    """

    arm: str
    task: str
    estimate: Estimate
    expected: int
    counts: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    breakdown: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every sample has a score."""
        return self.estimate.n == self.expected


def cell_of(arm: str, column: Column, records: Sequence[Record], expected: int, metric: Metric) -> Cell:
    """Aggregate one arm's scored records of one benchmark."""
    scored = [record for record in records if record.score is not None and record.score.value is not None]
    items = [Scored(record.score, record.labels) for record in scored if record.score is not None]
    figures = metric.summarise(items)
    members: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in scored:
        for group, labels in record.groups.items():
            for label in (labels,) if isinstance(labels, str) else labels:
                members[group][label].append(record)
    breakdown = {
        group: {label: _estimate(found, column.limits) for label, found in sorted(labels.items())}
        for group, labels in members.items()
    }
    low, high = _interval(metric, items, scored, column.limits)
    return Cell(
        arm=arm,
        task=column.task,
        estimate=Estimate(figures.get(metric.name, math.nan), low, high, len(scored)),
        expected=expected,
        counts={
            rate: sum(not set(flags).isdisjoint(record.flags) for record in records)
            for rate, flags in RATES.items()
        },
        figures=figures,
        breakdown=breakdown,
    )


def category_means(cells: Mapping[str, Cell], columns: Sequence[Column]) -> dict[str, float | None]:
    """The unweighted mean of each category's benchmarks, as in the paper, and their mean as
    ``overall``; None where a benchmark of the table is missing, rather than a mean over fewer.
    """
    means: dict[str, float | None] = {}
    for category in CATEGORIES:
        tasks = [column.task for column in columns if column.category == category]
        if tasks:
            means[category] = unweighted([_fraction(cells.get(task), columns) for task in tasks])
    means["overall"] = unweighted(list(means.values()))
    return means


def unweighted(values: Iterable[float | None]) -> float | None:
    """The mean, or None if any value is missing or there is none.

    >>> unweighted([0.5, 0.7]), unweighted([0.5, None])
    (0.6, None)
    """
    known = list(values)
    if not known or any(value is None or math.isnan(value) for value in known):
        return None
    return sum(value for value in known if value is not None) / len(known)


def _fraction(cell: Cell | None, columns: Sequence[Column]) -> float | None:
    """A score on the scale 0 to 1, so that benchmarks of different ranges can be averaged."""
    if cell is None or not cell.whole:
        return None
    low, high = next(column.limits for column in columns if column.task == cell.task)
    return (cell.estimate.value - low) / (high - low)


def _interval(
    metric: Metric, items: Sequence[Scored], records: Sequence[Record], limits: tuple[float, float]
) -> tuple[float, float]:
    """The primary figure's interval: over answers, or over what the metric takes the mean of."""
    units = metric.units(items) if isinstance(metric, UnitMetric) else None
    if units is None:
        units = [Unit(place, item.score.value or 0.0) for place, item in enumerate(items)]
    clusters = [records[unit.place].cluster_id for unit in units]
    return interval([unit.value for unit in units], clusters, limits, [unit.weight for unit in units])


def _estimate(records: Sequence[Record], limits: tuple[float, float]) -> Estimate:
    values = [record.score.value for record in records if record.score and record.score.value is not None]
    low, high = interval(values, [record.cluster_id for record in records], limits)
    return Estimate(sum(values) / len(values) if values else math.nan, low, high, len(values))
