"""Curves of drawn abilities: scores over a knob, the area under them, and where they fall halfway to chance.

With the score ``a`` and the chance ``g`` of a level, ``c = (a - g) / (1 - g)`` is 1 where all is right and
0 where answers are as good as guessed. The area is the trapezoid rule over levels at equal distances,
``sum_i (c_i + c_{i+1}) / 2 / (k - 1)``. Halfway is where the curve first falls below ``c = 1/2``,
interpolated between the two levels (on a log scale where both are above 0). Intervals of both are percentiles
of a bootstrap over clusters (an item is one, or those that share an image) within each level; two systems are
resampled together, on the items that both have. A level at which all is right (or wrong) would seem to be
known exactly: its draws are Jeffreys', ``Beta(n + 1/2, 1/2)``. With fewer than ten clusters at a level there
is no interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.report.aggregate import BenchmarkColumn, value_of
from evalkit.report.intervals import LEVEL, interval
from evalkit.report.steps import counted
from evalkit.store.records import Record
from evalkit.store.records_table import ScoreRow, score_rows

RESAMPLES = 1999
LEAST = 10
"""Clusters that every level needs for an interval."""
_SEED = 20251023

Floats = npt.NDArray[np.float64]
Facts = Mapping[float, tuple[float | None, int]]


@dataclass(frozen=True)
class Level:
    """The score at a level with its 95% interval, over ``n`` items; ``chance`` is the score of guessing.

    ``tokens`` is the mean length of the prompts, ``unseen`` counts items whose film was shown without the
    frames that the answer is in; both only where records are read for it.
    """

    level: float
    n: int
    score: float
    low: float
    high: float
    chance: float
    tokens: float | None = None
    unseen: int = 0


@dataclass(frozen=True)
class Measured:
    """A figure with its 95% interval (NaN twice where there is none)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class AbilityCurve:
    """One system's curve. ``halfway`` is a level; ``-inf`` says that the curve begins below, ``inf`` that it
    never falls so far. With a baseline, ``area_difference`` is to it, over the items that both answered, and
    ``halfway_difference`` in levels (steps of the knob), where a point outside counts as the nearest end.
    """

    arm: str
    levels: Sequence[Level]
    area: Measured
    halfway: Measured
    area_difference: Measured | None = None
    halfway_difference: Measured | None = None


@dataclass(frozen=True)
class Ability:
    """A benchmark with a knob, and a curve for each system that answered it."""

    task: str
    title: str
    category: str
    metric: str
    knob: str
    curves: Sequence[AbilityCurve]


def has_knob(rows: Sequence[ScoreRow]) -> bool:
    """Whether samples say where they are on a knob."""
    return any(isinstance(row.labels.get("probe"), Mapping) for row in rows)


def ability(
    column: BenchmarkColumn,
    sides: Mapping[str, Sequence[ScoreRow]],
    facts: Mapping[str, Facts] | None = None,
    baseline: str | None = None,
) -> Ability | None:
    """The curves of a benchmark; None if it has no knob. ``sides`` are the scored samples by system."""
    known = samples_of(sides)
    if not known:
        return None
    curves = []
    for arm, own in known.items():
        base = known.get(baseline) if baseline is not None and baseline != arm else None
        curves.append(curve_of(arm, own, base, (facts or {}).get(arm, {})))
    knob = next(iter(known.values())).knob
    return Ability(column.task, column.title, column.category, column.metric, knob, curves)


def samples_of(sides: Mapping[str, Sequence[ScoreRow]]) -> dict[str, Samples]:
    """The scores by level of the systems that have any."""
    found = {arm: Samples.of(rows) for arm, rows in sides.items() if has_knob(rows)}
    return {arm: each for arm, each in found.items() if each.by_level}


@dataclass(frozen=True)
class Samples:
    """Scores by level, sample id and repetition, with clusters; the chance by level."""

    knob: str
    by_level: Mapping[float, Mapping[tuple[str, int], tuple[float, str]]]
    chance: Mapping[float, float]

    @classmethod
    def of(cls, rows: Sequence[ScoreRow]) -> Samples:
        found: dict[float, dict[tuple[str, int], tuple[float, str]]] = {}
        chance: dict[float, float] = {}
        knob = ""
        for row in rows:
            place, value = row.labels.get("probe"), value_of(row)
            if not isinstance(place, Mapping) or value is None:
                continue
            level, knob = float(place["level"]), str(place["knob"])
            chance[level] = float(place["chance"])
            found.setdefault(level, {})[row.sample_id, row.repetition] = (value, row.cluster_id)
        return cls(knob, dict(sorted(found.items())), chance)

    def shared_with(self, other: Samples) -> Samples:
        """Only the samples that another has, too."""
        both = {
            level: {key: each for key, each in own.items() if key in other.by_level.get(level, {})}
            for level, own in self.by_level.items()
        }
        return Samples(self.knob, {level: own for level, own in both.items() if own}, self.chance)

    def corrected(self, means: Floats) -> Floats:
        """Scores ``[..., levels]`` with chance taken out."""
        chance = np.array([self.chance[level] for level in self.by_level])
        corrected: Floats = (means - chance) / (1 - chance)
        return corrected

    def means(self) -> Floats:
        """The mean score of each level."""
        return np.array([np.mean([value for value, _ in own.values()]) for own in self.by_level.values()])

    def resampled(self) -> Floats:
        """Means ``[resamples, levels]`` under resampling; samples in equal order get equal draws."""
        rng = np.random.default_rng(_SEED)
        columns = []
        for own in self.by_level.values():
            clusters: dict[str, list[float]] = {}
            for _, (value, cluster) in sorted(own.items()):
                clusters.setdefault(cluster, []).append(value)
            table = np.array([(sum(values), len(values)) for values in clusters.values()])
            uniform = rng.random(RESAMPLES)
            draws = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), size=RESAMPLES)
            means = (draws @ table[:, 0]) / (draws @ table[:, 1])
            columns.append(_alike(means, uniform, len(table)))
        return np.stack(columns, axis=1)

    @property
    def enough(self) -> bool:
        """Whether every level has the clusters that an interval needs."""
        return all(len({cluster for _, cluster in own.values()}) >= LEAST for own in self.by_level.values())


def _alike(means: Floats, uniform: Floats, clusters: int) -> Floats:
    """Draws of a level's mean; where all is right or all wrong, from Jeffreys' posterior."""
    from scipy.special import betaincinv

    if means.min() < means.max() or means[0] not in (0.0, 1.0):
        return means
    tail: Floats = betaincinv(0.5, clusters + 0.5, uniform)
    return tail if means[0] == 0 else 1 - tail


def curve_of(arm: str, own: Samples, base: Samples | None, facts: Facts) -> AbilityCurve:
    """The curve of one system, with its differences to ``base`` if that is given."""
    levels = list(own.by_level)
    corrected, drawn = own.corrected(own.means()), own.corrected(own.resampled())
    area = measured(_area(corrected[None])[0], _area(drawn), own.enough)
    place = measured(halfway_places(corrected[None])[0], halfway_places(drawn), own.enough)
    halfway = Measured(*(level_at(levels, each) for each in vars(place).values()))
    area_difference = halfway_difference = None
    if base is not None:
        area_difference, halfway_difference = _differences(own.shared_with(base), base.shared_with(own))
    return AbilityCurve(
        arm,
        [_at_level(own, level, *facts.get(level, (None, 0))) for level in levels],
        area,
        halfway,
        area_difference,
        halfway_difference,
    )


def _at_level(own: Samples, level: float, tokens: float | None, unseen: int) -> Level:
    values = [value for value, _ in own.by_level[level].values()]
    low, high = interval(values, [cluster for _, cluster in own.by_level[level].values()])
    return Level(level, len(values), float(np.mean(values)), low, high, own.chance[level], tokens, unseen)


def _differences(own: Samples, base: Samples) -> tuple[Measured | None, Measured | None]:
    if not own.by_level:
        return None, None
    sides = [(each.corrected(each.means())[None], each.corrected(each.resampled())) for each in (own, base)]
    last = len(own.by_level) - 1

    def place(corrected: Floats) -> Floats:
        return np.clip(halfway_places(corrected), 0, last)

    found = []
    for figure in (_area, place):
        value, drawn = (figure(mine) - figure(theirs) for mine, theirs in zip(*sides, strict=True))
        found.append(measured(value[0], drawn, own.enough))
    return found[0], found[1]


def _area(corrected: Floats) -> Floats:
    """The area under curves ``[n, levels]``; that of a single level is its value."""
    if corrected.shape[1] == 1:
        return corrected[:, 0]
    area: Floats = ((corrected[:, 1:] + corrected[:, :-1]) / 2).mean(axis=1)
    return area


def halfway_places(corrected: Floats) -> Floats:
    """Where curves ``[n, levels]`` first fall below one half, in numbers of levels: 1.5 is between the second
    level and the third; ``-inf`` for below from the beginning, ``inf`` for never.
    """
    below = corrected < 0.5 - 1e-12
    first = np.argmax(below, axis=1)
    place = np.full(len(corrected), math.inf)
    begins, falls = below[:, 0], below.any(axis=1) & ~below[:, 0]
    rows = np.flatnonzero(falls)
    after, before = corrected[rows, first[rows]], corrected[rows, first[rows] - 1]
    place[rows] = first[rows] - 1 + (before - 0.5) / (before - after)
    place[begins] = -math.inf
    return place


def level_at(levels: Sequence[float], place: float) -> float:
    """The knob's value at a number of levels."""
    if not math.isfinite(place):  # outside, or not known
        return place
    left = min(int(place), len(levels) - 1)
    right = min(left + 1, len(levels) - 1)
    low, high, share = levels[left], levels[right], place - left
    if low > 0:
        return float(low * (high / low) ** share)
    return float(low + (high - low) * share)


def measured(value: float, drawn: Floats, enough: bool) -> Measured:
    """A figure with percentiles of draws, some of which may be infinite: an observed draw each, so that
    nothing is interpolated between infinities.
    """
    if not enough:
        return Measured(float(value), math.nan, math.nan)
    ordered = np.sort(drawn)
    tail = (1 - LEVEL) / 2
    low, high = ordered[int(tail * len(ordered))], ordered[int((1 - tail) * len(ordered))]
    return Measured(float(value), min(float(low), float(value)), max(float(high), float(value)))


def shown(records: Iterable[Record]) -> dict[float, tuple[float | None, int]]:
    """By level: the mean length of prompts in tokens, and how many samples were shown a film without a frame
    of some needle of theirs.
    """
    found: dict[float, list[tuple[int, bool]]] = {}
    for record in records:
        place = record.labels.get("probe")
        if isinstance(place, Mapping) and not record.failed:
            frames = next((each.frames for each in record.media if each.kind == "video"), None)
            needles = place.get("needles", ()) if frames is not None else ()
            missed = not all(any(a <= each < b for each in frames or ()) for a, b in needles)
            found.setdefault(float(place["level"]), []).append((record.prompt_tokens, missed))
    return {
        level: (sum(tokens for tokens, _ in each) / len(each), sum(missed for _, missed in each))
        for level, each in found.items()
    }


Maker = Callable[[BenchmarkColumn, Mapping[str, Sequence[ScoreRow]], Mapping[str, Facts]], Ability | None]


def abilities(
    columns: Sequence[BenchmarkColumn],
    records: Mapping[str, Mapping[str, Sequence[Record]]],
    make: Maker = ability,
) -> list[Ability]:
    """The benchmarks of a comparison that have a knob; ``records`` by system and task. ``make`` is
    :func:`ability`, or of grouped systems.
    """
    found = []
    for column in counted(columns, "drawing the curve of benchmark"):
        sides = {arm: tasks[column.task] for arm, tasks in records.items() if tasks.get(column.task)}
        light = {arm: score_rows(side) for arm, side in sides.items()}
        if any(map(has_knob, light.values())):
            made = make(column, light, {arm: shown(side) for arm, side in sides.items()})
            found += [] if made is None else [made]
    return found
