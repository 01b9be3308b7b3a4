"""Paired differences of a comparison's arms to one of them, the baseline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from evalkit.core.errors import UsageError, did_you_mean
from evalkit.metrics.base import Metric, Scored, UnitMetric
from evalkit.report.aggregate import CATEGORIES, BenchmarkColumn, by_label, tasks_by_row, value_of
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.paired import (
    Correction,
    Difference,
    ScorePair,
    Spread,
    corrected,
    difference,
    mean_difference,
)
from evalkit.report.repetitions import is_repeated, mean_pairs
from evalkit.report.steps import counted
from evalkit.store.records import Record
from evalkit.store.records_table import ScoreRow, score_rows

RecordsByTask = Mapping[str, Sequence[Record]]
FindMetric = Callable[[str, str], Metric]


def with_differences(
    comparison: Comparison,
    records: Mapping[str, RecordsByTask],
    metric_of: FindMetric,
    baseline: str,
    correction: Correction = "holm",
) -> Comparison:
    """Add the differences of every arm to the ``baseline``.

    ``records`` maps arm and task to scored records, ``metric_of`` an arm and a task to its metric.

    Raises:
        UsageError: no arm, or several, go by that name.
    """
    base = find_arm(comparison.arms, baseline)
    others = [arm.name for arm in comparison.arms if arm.name != base.name]
    found: dict[str, dict[str, Difference]] = {name: {} for name in others}
    for column in counted(comparison.columns, "testing differences on benchmark"):
        first = score_rows(records[base.name].get(column.task, ()))
        for name in others:
            pair = (first, score_rows(records[name].get(column.task, ())))
            metric = metric_of(name, column.task)
            result = difference(pairs(metric, *pair))
            if result is not None:
                found[name][column.task] = result
    differences = {name: corrected(each, correction) for name, each in found.items()}
    means = {name: _means(comparison.columns, each) for name, each in differences.items()}
    sides = {column.task: records[base.name].get(column.task, ()) for column in comparison.columns}
    parts = {
        name: LabelDifferences(partial(metric_of, name), sides, records[name], correction) for name in others
    }
    return replace(
        comparison,
        baseline=base.name,
        correction=correction,
        differences=differences,
        parts=parts,
        mean_differences=means,
    )


class LabelDifferences(Mapping[tuple[str, str, str], Difference]):
    """One arm's differences by (task, group, label), p values corrected over the labels of each group.

    A task's are computed when they are first asked for: most tables show none, and there are many times as
    many of them as benchmarks.
    """

    def __init__(
        self, metric: Callable[[str], Metric], base: RecordsByTask, own: RecordsByTask, correction: Correction
    ) -> None:
        self._metric = metric
        self._sides = {task: (side, own.get(task, ())) for task, side in base.items()}
        self._correction = correction
        self._known: dict[str, dict[tuple[str, str, str], Difference]] = {}

    def __getitem__(self, place: tuple[str, str, str]) -> Difference:
        return self._of(place[0])[place]

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        return (place for task in self._sides for place in self._of(task))

    def __len__(self) -> int:
        return sum(len(self._of(task)) for task in self._sides)

    def _of(self, task: str) -> dict[tuple[str, str, str], Difference]:
        if task not in self._sides:
            return {}
        if task not in self._known:
            first, second = map(score_rows, self._sides[task])
            self._known[task] = _by_label(self._metric(task), task, first, second, self._correction)
        return self._known[task]


def find_arm(arms: Sequence[Arm], name: str) -> Arm:
    """The arm that ``name`` is the name (shown or stored), variant, model or beginning of the name of.

    Raises:
        UsageError: none, or more than one.
    """
    for matches in (
        [arm for arm in arms if arm.name == name],
        [arm for arm in arms if arm.system == name],
        [arm for arm in arms if name in (arm.rope, arm.model)],
        [arm for arm in arms if arm.name.startswith(name)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            listed = ", ".join(arm.name for arm in matches)
            raise UsageError(f"arm `{name}`", f"several go by that name: {listed}", "give one of these names")
    known = [arm.name for arm in arms]
    raise UsageError(
        f"arm `{name}`",
        f"there is none; there are {', '.join(known)}.{did_you_mean(name, known)}",
        "give one of these",
    )


def pairs(metric: Metric, first: Sequence[ScoreRow], second: Sequence[ScoreRow]) -> list[ScorePair]:
    """The scores of what both arms have a score for: by sample, or by the unit that the metric scores."""
    if is_repeated(first) or is_repeated(second):
        return mean_pairs(metric, first, second)
    left, right = (
        {row.sample_id: row for row in rows if value_of(row) is not None} for rows in (first, second)
    )
    shared = [(left[key], right[key]) for key in left if key in right]
    if not isinstance(metric, UnitMetric):
        return [ScorePair(value_of(a) or 0.0, value_of(b) or 0.0, a.cluster_id) for a, b in shared]
    units = [metric.units([_item(side[place]) for side in shared]) for place in (0, 1)]
    return [
        ScorePair(a.value, b.value, shared[a.place][0].cluster_id, a.weight)
        for a, b in zip(*units, strict=True)
    ]


def _by_label(
    metric: Metric, task: str, first: Sequence[ScoreRow], second: Sequence[ScoreRow], correction: Correction
) -> dict[tuple[str, str, str], Difference]:
    """Differences by label of every breakdown, p values corrected over the labels of each."""
    sides = [by_label(rows) for rows in (first, second)]
    found: dict[tuple[str, str, str], Difference] = {}
    for group in dict.fromkeys(group for side in sides for group in side):
        members = [side.get(group, {}) for side in sides]
        labels = dict.fromkeys(label for side in members for label in side)
        plain = {
            label: difference(pairs(metric, *(side.get(label, ()) for side in members))) for label in labels
        }
        known = {label: each for label, each in plain.items() if each is not None}
        found |= {(task, group, label): each for label, each in corrected(known, correction).items()}
    return found


def _means(columns: Sequence[BenchmarkColumn], found: Mapping[str, Difference]) -> dict[str, Spread]:
    """Differences of the table's means, by name; a mean has none where one of its benchmarks has none."""
    limits = {column.task: column.limits for column in columns}
    rows: dict[str, Spread] = {}
    for row, tasks in tasks_by_row(columns).items():
        spreads = [_fraction(found[task], limits[task]) for task in tasks if task in found]
        if len(spreads) == len(tasks):
            rows[row] = mean_difference(spreads)
    means = dict(rows)
    categories = []
    for category in CATEGORIES:
        names = tasks_by_row([column for column in columns if column.category == category])
        if names and all(name in rows for name in names):
            means[category] = mean_difference([rows[name] for name in names])
            categories.append(means[category])
    if len(categories) == len({column.category for column in columns}):
        means["overall"] = mean_difference(categories)
    return {name: spread for name, spread in means.items() if not math.isnan(spread[1])}


def _fraction(found: Difference, limits: tuple[float, float]) -> Spread:
    width = limits[1] - limits[0]
    return found.value / width, found.low / width, found.high / width


def _item(record: ScoreRow) -> Scored:
    assert record.score is not None
    return Scored(record.score, record.labels)
