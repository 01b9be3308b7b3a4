"""What a report page draws, as data: differences by group, breakdowns, scores by training step
(:mod:`evalkit.report.curves` has those by length and size).

Everything is on the scale of the printed table: fractions out of 100.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from evalkit.report.aggregate import CATEGORIES, BenchmarkColumn, Cell, tasks_by_row
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.curves import axis, unit
from evalkit.report.grid import scale
from evalkit.report.paired import Spread

Members = Mapping[str, Sequence[Arm]]
"""The checkpoints of each arm, of which there are several where training seeds are grouped."""
Point = tuple[Spread, Sequence[float]]
"""A value with its interval, and the values of single seeds."""

_AT_ONCE = 4  # curves that a plot of this size can carry
# How trainers call what they save: `RUN/checkpoint-500`, `RUN/global_step40`, `RUN/epoch_2`.
_STEP = re.compile(
    r"(?P<training>.*?)/?(?P<unit>checkpoint|(?:global[-_]?)?step|epoch|iter)[-_]?(?P<step>\d+)"
)


def short_names(arms: Sequence[Arm]) -> list[str]:
    """The arms' names for plots: where names are made of model and variant, what tells them apart."""
    steps = [_STEP.fullmatch(arm.model) for arm in arms]
    stepped = [f"{arm.rope} {step['step']}" if step else "" for arm, step in zip(arms, steps, strict=True)]
    for names in ([arm.rope for arm in arms], stepped, [arm.model for arm in arms]):
        whole = all(names) and len(set(names)) == len(arms)
        if whole and all(arm.name == f"{arm.model}@{arm.rope}" for arm in arms):
            return names
    return [arm.name for arm in arms]


def standing_out(comparison: Comparison) -> list[int]:
    """The numbers of the arms whose curves stand out at first: all, or of more than ``_AT_ONCE`` the
    baseline and the best.
    """
    arms = comparison.arms
    if len(arms) <= _AT_ONCE:
        return list(range(len(arms)))
    means = [list(comparison.means(arm.name).values()) for arm in arms]
    scores = [sum(each for each in found if each is not None) for found in means]
    best = sorted(range(len(arms)), key=lambda place: scores[place], reverse=True)
    base = [place for place, arm in enumerate(arms) if arm.name == comparison.baseline]
    return sorted([*base, *(place for place in best if place not in base)][:_AT_ONCE])


def difference_groups(comparison: Comparison) -> list[dict[str, Any]]:
    """Differences to the baseline: the means first, then the benchmarks of each category. A group has panels,
    one for each mean or benchmark, and a panel a row for each arm with a difference.
    """
    if comparison.baseline is None:
        return []
    categories = [name for name in CATEGORIES if any(each.category == name for each in comparison.columns)]
    means = [_panel(name, "out of 100", _mean_rows(comparison, name)) for name in _means(comparison)]
    groups: list[dict[str, Any]] = [{"name": "means", "panels": _with_rows(means)}]
    for category in categories:
        columns = [column for column in comparison.columns if column.category == category]
        panels = [_panel(each.task, unit(each), _task_rows(comparison, each)) for each in columns]
        groups.append({"name": category, "panels": _with_rows(panels)})
    return [group for group in groups if group["panels"]]


def _with_rows(panels: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [panel for panel in panels if panel["rows"]]


def _panel(title: str, unit: str, rows: Iterator[dict[str, Any]]) -> dict[str, Any]:
    return {"title": title, "unit": unit, "rows": list(rows)}


def _mean_rows(comparison: Comparison, name: str) -> Iterator[dict[str, Any]]:
    for place, arm in enumerate(comparison.arms):
        found = comparison.mean_differences.get(arm.name, {}).get(name)
        if found is not None:
            value, low, high = (100 * each for each in found)
            sure = not low <= 0 <= high
            base = comparison.means(str(comparison.baseline)).get(name)
            seeds = [] if base is None else [each - 100 * base for each in _seed_means(comparison, arm, name)]
            row = {"arm": place, "value": value, "low": low, "high": high, "significant": sure}
            yield {**row, "seeds": seeds}


def _task_rows(comparison: Comparison, column: BenchmarkColumn) -> Iterator[dict[str, Any]]:
    factor = scale(column)
    for place, arm in enumerate(comparison.arms):
        found = comparison.differences.get(arm.name, {}).get(column.task)
        if found is not None and not math.isnan(found.low):
            cells = (comparison.cells[name].get(column.task) for name in (arm.name, str(comparison.baseline)))
            yield {
                "arm": place,
                "value": found.value * factor,
                "low": found.low * factor,
                "high": found.high * factor,
                "significant": found.significant,
                "seeds": [each * factor for each in found.by_seed.values()],
                "unreliable": any(cell is not None and bool(cell.unreliable) for cell in cells),
            }


def breakdowns(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """A table for each breakdown of each benchmark: a row for each label, a value for each arm."""
    for column in comparison.columns:
        cells = [comparison.cells[arm.name].get(column.task) for arm in comparison.arms]
        groups = dict.fromkeys(group for cell in cells if cell for group in cell.breakdown)
        for group in groups:
            yield {
                "title": f"{column.task} by {group}",
                "category": column.category,
                "rows": list(_labels(cells, group, scale(column))),
                "low": column.limits[0] * scale(column),
                "top": column.limits[1] * scale(column),
            }


def _labels(cells: Sequence[Cell | None], group: str, factor: float) -> Iterator[dict[str, Any]]:
    parts = [cell.breakdown.get(group, {}) if cell else {} for cell in cells]
    for label in dict.fromkeys(label for part in parts for label in part):
        found = [part.get(label) for part in parts]
        values = [None if each is None or math.isnan(each.value) else each.value * factor for each in found]
        yield {"label": label, "n": max(each.n for each in found if each), "values": values}


def training_steps(comparison: Comparison, members: Members | None = None) -> dict[str, Any] | None:
    """Scores by step of trainings of which several checkpoints are compared: a panel for each mean and
    benchmark, a curve for each training, its arms' numbers under ``trainings``. None without such.

    ``members`` are the checkpoints of each arm: with several, the curve is of their mean. ``left_out`` are
    arms whose checkpoints are of different steps.
    """
    trainings: dict[str, dict[int, int]] = {}
    units, left_out = set(), []
    for place, arm in enumerate(comparison.arms):
        own = members[arm.name] if members else [arm]
        found = [match for each in own if (match := _STEP.fullmatch(each.model))]
        steps = {int(match["step"]) for match in found}
        if len(steps) > 1 or 0 < len(found) < len(own):
            left_out.append(arm.name)
        elif found:
            names = ", ".join(match["training"] for match in found)
            name = "@".join(part for part in (names, arm.rope) if part)
            trainings.setdefault(name, {})[steps.pop()] = place
            units.add(found[0]["unit"])
    trainings = {name: steps for name, steps in trainings.items() if len(steps) > 1}
    if not trainings:
        return None
    panels = [_mean_steps(comparison, name, trainings.values()) for name in _means(comparison)]
    panels += [
        {
            **axis(column),
            "curves": _step_curves(
                comparison, trainings.values(), partial(_task_estimate, comparison, column)
            ),
        }
        for column in comparison.columns
    ]
    return {
        "trainings": list(trainings),
        "label": "epoch" if units == {"epoch"} else "training step",
        "panels": [each for each in panels if each["curves"]],
        "left_out": left_out,
    }


def _means(comparison: Comparison) -> list[str]:
    """The names of the means that have several benchmarks behind them."""
    counts = [(name, sum(each.category == name for each in comparison.columns)) for name in CATEGORIES]
    several: list[str] = [name for name, count in counts if count > 1]
    return ["overall", *several] if sum(count > 0 for _, count in counts) > 1 else several


def _mean_steps(comparison: Comparison, name: str, trainings: Iterable[Mapping[int, int]]) -> dict[str, Any]:
    title = name if name == "overall" else f"mean of {name}"
    curves = _step_curves(comparison, trainings, partial(_mean_estimate, comparison, name))
    several = any(arm.seeds > 1 for arm in comparison.arms)
    return {
        "title": title,
        "category": "means",
        "unit": "out of 100, of several seeds without an interval" if several else "out of 100",
        "limits": [0.0, 100.0],
        "curves": curves,
    }


def _step_curves(
    comparison: Comparison, trainings: Iterable[Mapping[int, int]], estimate: Callable[[Arm], Point | None]
) -> list[dict[str, Any]]:
    """A curve for each training that has an estimate at some step, of points
    ``[step, value, low, high, None, values of single seeds]``.
    """
    curves = []
    for place, steps in enumerate(trainings):
        found = [(step, estimate(comparison.arms[arm])) for step, arm in sorted(steps.items())]
        points = [[step, *each[0], None, each[1]] for step, each in found if each is not None]
        if points:
            curves.append({"arm": place, "points": points})
    return curves


def _task_estimate(comparison: Comparison, column: BenchmarkColumn, arm: Arm) -> Point | None:
    cell = comparison.cells[arm.name].get(column.task)
    if cell is None or math.isnan(cell.estimate.value):
        return None
    value, low, high = cell.estimate.value, cell.estimate.low, cell.estimate.high
    factor = scale(column)
    return (value * factor, low * factor, high * factor), [each * factor for each in cell.by_seed.values()]


def _mean_estimate(comparison: Comparison, name: str, arm: Arm) -> Point | None:
    """A mean with its interval: benchmarks are independent, so that their margins, weighted as in the mean,
    add up in squares. Not so where a seed is lucky in several of them: of several seeds there is none.
    """
    value = comparison.means(arm.name).get(name)
    if value is None:
        return None
    if arm.seeds > 1:
        return (100 * value, math.nan, math.nan), _seed_means(comparison, arm, name)
    weights = _weights(comparison, name)
    variance = 0.0
    for column in comparison.columns:
        estimate = comparison.cells[arm.name][column.task].estimate if column.task in weights else None
        if estimate is not None:
            width = column.limits[1] - column.limits[0]
            variance += (weights[column.task] * (estimate.high - estimate.low) / 2 / width) ** 2
    margin = 100 * math.sqrt(variance)
    return (100 * value, 100 * value - margin, 100 * value + margin), []


def _seed_means(comparison: Comparison, arm: Arm, name: str) -> list[float]:
    """A mean of each of an arm's checkpoints; none of an arm of one."""
    return [100 * each for each in comparison.mean_by_seed.get(arm.name, {}).get(name, {}).values()]


def _weights(comparison: Comparison, name: str) -> dict[str, float]:
    """How much each benchmark counts in a mean: equal rows in a category, equal benchmarks in a row, and for
    ``overall`` equal categories.
    """
    categories = list(dict.fromkeys(column.category for column in comparison.columns))
    chosen = categories if name == "overall" else [name]
    found: dict[str, float] = {}
    for category in chosen:
        rows = tasks_by_row([column for column in comparison.columns if column.category == category])
        for tasks in rows.values():
            found |= dict.fromkeys(tasks, 1 / len(chosen) / len(rows) / len(tasks))
    return found
