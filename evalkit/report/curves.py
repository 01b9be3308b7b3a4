"""What a report page draws over something that samples have more or less of, as data: scores by seconds of
video, by visual tokens, and by the knob of a drawn ability.

Everything is on the scale of the printed table: fractions out of 100. A point of a curve is ``[size, value,
low, high, n, values of single seeds]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from evalkit.report.ability import ability, has_knob
from evalkit.report.ability_text import number
from evalkit.report.aggregate import BenchmarkColumn, value_of
from evalkit.report.grid import scale
from evalkit.report.intervals import interval
from evalkit.report.seeds import Resampled, SeedTests
from evalkit.store.records_table import ScoreRow

_BINS = 6
_SEED = 20251023

Measure = Callable[[ScoreRow], float | None]
Checkpoints = Sequence[Sequence[ScoreRow]]
"""The scored samples of each checkpoint of an arm."""
Answer = tuple[float, tuple[float, ...], str]
"""A size, the score of each checkpoint, and the cluster."""
Sized = TypeVar("Sized", bound=tuple[Any, ...])


def measured_curve(
    column: BenchmarkColumn, arms: Sequence[Checkpoints], measure: Measure
) -> Iterator[dict[str, Any]]:
    """Mean scores with 95% intervals over bins of ``measure`` with equal numbers of samples, a curve for each
    arm; none if all samples are equal in it.
    """
    curves = []
    for place, own in enumerate(arms):
        found = sorted(_answers(own, measure))
        if len({size for size, *_ in found}) > 1:
            curves.append({"arm": place, "points": [_point(part, column) for part in _bins(found)]})
    if curves:
        yield {**axis(column), "curves": curves}


def ability_panel(column: BenchmarkColumn, arms: Sequence[Checkpoints]) -> Iterator[dict[str, Any]]:
    """The curves of a benchmark with a knob, levels at equal distances; ``levels`` are their names."""
    names = {str(place): own[0] for place, own in enumerate(arms) if own and has_knob(own[0])}
    found = ability(column, names)
    if found is None:
        return
    curves = {int(curve.arm): curve.levels for curve in found.curves}
    levels = sorted({each.level for own in curves.values() for each in own})
    chance = {each.level: 100 * each.chance for own in curves.values() for each in own}
    drawn = []
    for place, own in curves.items():
        if len(arms[place]) > 1:
            answers = sorted(_answers(arms[place], _level))
            points = [_point([each for each in answers if each[0] == level], column) for level in
                      sorted({level for level, *_ in answers})]  # fmt: skip
        else:
            points = [
                [each.level, 100 * each.score, 100 * each.low, 100 * each.high, each.n, []] for each in own
            ]
        drawn.append({"arm": place, "points": [[levels.index(level), *rest] for level, *rest in points]})
    yield {
        "title": found.task,
        "category": found.category,
        "unit": f"{found.metric}, out of 100",
        "limits": [0.0, 100.0],
        "label": found.knob,
        "levels": [number(level) for level in levels],
        "chance": [chance[level] for level in levels],
        "curves": drawn,
    }


def axis(column: BenchmarkColumn) -> dict[str, Any]:
    """What a panel of a benchmark is called, and the range of its scores."""
    limits = [bound * scale(column) for bound in column.limits]
    return {"title": column.task, "category": column.category, "unit": unit(column), "limits": limits}


def unit(column: BenchmarkColumn) -> str:
    """What the printed scores of a benchmark are."""
    return f"{column.metric}, out of 100" if scale(column) == 100 else column.metric


def _level(row: ScoreRow) -> float | None:
    place = row.labels.get("probe")
    return float(place["level"]) if isinstance(place, Mapping) else None


def _answers(checkpoints: Checkpoints, measure: Measure) -> Iterator[Answer]:
    """What all checkpoints of an arm have a score for."""
    sides = [
        {(row.sample_id, row.repetition): value for row in side if (value := value_of(row)) is not None}
        for side in checkpoints
    ]
    for row in checkpoints[0] if checkpoints else ():
        values = [side.get((row.sample_id, row.repetition)) for side in sides]
        known = tuple(value for value in values if value is not None)
        size = measure(row)
        if size is not None and len(known) == len(sides):
            yield size, known, row.cluster_id


def _point(part: Sequence[Answer], column: BenchmarkColumn) -> list[Any]:
    """The mean size, mean score, its interval, the number of samples and the seeds' scores of a bin."""
    factor = scale(column)
    size = sum(size for size, *_ in part) / len(part)
    value, low, high, seeds = _estimate(part, column.limits)
    return [size, value * factor, low * factor, high * factor, len(part), [each * factor for each in seeds]]


def _estimate(
    part: Sequence[Answer], limits: tuple[float, float]
) -> tuple[float, float, float, Sequence[float]]:
    """A mean with its interval: over clusters, and over the seeds where there are several."""
    clusters = [cluster for *_, cluster in part]
    if len(part[0][1]) == 1:
        values = [value for _, (value,), _ in part]
        return sum(values) / len(values), *interval(values, clusters, limits), []
    sums: dict[str, Any] = {}
    for _, scores, cluster in part:
        sums[cluster] = sums.get(cluster, 0) + np.asarray([1.0, *scores])
    found = Resampled.of(np.asarray(list(sums.values())), np.random.default_rng(_SEED))
    value, low, high = SeedTests({"": range(len(part[0][1]))}).estimate(found, "")
    # NaN, of a single cluster, stays NaN.
    return value, max(low, limits[0]), min(high, limits[1]), [float(each) for each in found.means]


def _bins(points: Sequence[Sized]) -> Iterator[list[Sized]]:
    """Bins of about equal numbers of samples; those of one size are in one bin."""
    part: list[Sized] = []
    for place, point in enumerate(points):
        part.append(point)
        last = place + 1 == len(points)
        if last or (len(part) >= len(points) / _BINS and points[place + 1][0] != point[0]):
            yield part
            part = []
