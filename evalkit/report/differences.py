"""Paired differences of a comparison's arms to one of them, the baseline."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from evalkit.core.errors import UsageError, did_you_mean
from evalkit.metrics.base import Metric, Scored, UnitMetric, group_labels
from evalkit.report.aggregate import CATEGORIES, BenchmarkColumn, tasks_by_row, value_of
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
    parts: dict[str, dict[tuple[str, str, str], Difference]] = {name: {} for name in others}
    for column in comparison.columns:
        first = score_rows(records[base.name].get(column.task, ()))
        for name in others:
            pair = (first, score_rows(records[name].get(column.task, ())))
            metric = metric_of(name, column.task)
            result = difference(pairs(metric, *pair))
            if result is not None:
                found[name][column.task] = result
            parts[name] |= _by_label(metric, column.task, *pair, correction)
    differences = {name: corrected(each, correction) for name, each in found.items()}
    means = {name: _means(comparison.columns, each) for name, each in differences.items()}
    return replace(
        comparison,
        baseline=base.name,
        correction=correction,
        differences=differences,
        parts=parts,
        mean_differences=means,
    )


def find_arm(arms: Sequence[Arm], name: str) -> Arm:
    """The arm that ``name`` is the name, variant, model or beginning of the name of.

    Raises:
        UsageError: none, or more than one.
    """
    for matches in (
        [arm for arm in arms if arm.name == name],
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
    members: dict[str, dict[str, tuple[list[ScoreRow], list[ScoreRow]]]] = {}
    for place, records in enumerate((first, second)):
        for record in records:
            for group, labels in record.groups.items():
                for label in group_labels(labels):
                    members.setdefault(group, {}).setdefault(label, ([], []))[place].append(record)
    found: dict[tuple[str, str, str], Difference] = {}
    for group, sides in members.items():
        plain = {label: difference(pairs(metric, *side)) for label, side in sides.items()}
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
