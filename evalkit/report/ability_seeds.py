"""Curves of drawn abilities of methods with several training seeds: means over checkpoints.

Levels and areas are means over the checkpoints, with the intervals and tests of :mod:`evalkit.report.seeds`:
an area is a weighted sum of levels, as a mean is one of benchmarks. Halfway points are those of the mean
curve; their intervals are percentiles of draws in which both seeds and items are resampled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial, reduce

import numpy as np

from evalkit.report.ability import (
    LEAST,
    Ability,
    AbilityCurve,
    Facts,
    Floats,
    Level,
    Maker,
    Measured,
    Samples,
    curve_of,
    halfway_places,
    level_at,
    measured,
    samples_of,
)
from evalkit.report.aggregate import BenchmarkColumn
from evalkit.report.seeds import Resampled, SeedTests
from evalkit.store.records_table import ScoreRow

_SEED = 20251023


def grouped(members: Mapping[str, Sequence[str]], baseline: str | None) -> Maker:
    """Makes abilities of groups: ``members`` are the systems of each, ``baseline`` is a group."""
    return partial(_grouped, members, baseline)


def _grouped(
    members: Mapping[str, Sequence[str]],
    baseline: str | None,
    column: BenchmarkColumn,
    sides: Mapping[str, Sequence[ScoreRow]],
    facts: Mapping[str, Facts],
) -> Ability | None:
    known = samples_of(sides)
    complete = {name: own for name, own in members.items() if set(own) <= known.keys()}
    if not complete:
        return None
    arms = [arm for own in complete.values() for arm in own]
    seeds = _Seeds(
        {name: [arms.index(arm) for arm in own] for name, own in complete.items()}, _shared(known, arms)
    )
    curves = []
    for name, own in complete.items():
        alone = curve_of(name, known[own[0]], None, facts.get(own[0], {}))
        unseen = {
            level: sum(facts.get(arm, {}).get(level, (None, 0))[1] for arm in own) for level in seeds.levels
        }
        curves.append(seeds.curve(alone, baseline if baseline in complete else None, unseen))
    knob = known[arms[0]].knob
    return Ability(column.task, column.title, column.category, column.metric, knob, curves)


def _shared(known: Mapping[str, Samples], arms: Sequence[str]) -> list[Samples]:
    """The samples that all systems have."""
    common = reduce(Samples.shared_with, (known[arm] for arm in arms))
    return [known[arm].shared_with(common) for arm in arms]


class _Seeds:
    """The curves of groups of checkpoints, on the samples that all of them have.

    ``places`` are those of each group's checkpoints among ``samples``.
    """

    def __init__(self, places: Mapping[str, Sequence[int]], samples: Sequence[Samples]) -> None:
        self.places = places
        self.tests = SeedTests(places)
        self.levels = list(samples[0].by_level)
        self.chance = [samples[0].chance[level] for level in self.levels]
        self.items = [len(samples[0].by_level[level]) for level in self.levels]
        generator = np.random.default_rng(_SEED)
        self.resampled = [Resampled.of(_table(samples, level), generator) for level in self.levels]
        self.enough = all(each.clusters >= LEAST for each in self.resampled)

    def curve(self, alone: AbilityCurve, base: str | None, unseen: Mapping[float, int]) -> AbilityCurve:
        """A group's curve; ``alone`` is that of its first checkpoint, by the group's name."""
        name = alone.arm
        compared = base is not None and base != name and bool(self.levels)
        area_difference = self._area_difference(name, base) if compared and base else None
        halfway_difference = self._halfway_difference(name, base) if compared and base else None
        if len(self.places[name]) < 2 or not self.levels:
            levels, area, halfway = alone.levels, alone.area, alone.halfway
        else:
            levels = [self._level(name, each, unseen) for each in alone.levels if each.level in self.levels]
            area, halfway = self._area(name), self._halfway(name)
        return AbilityCurve(name, levels, area, halfway, area_difference, halfway_difference)

    def _level(self, name: str, one: Level, unseen: Mapping[float, int]) -> Level:
        place = self.levels.index(one.level)
        value, low, high = self.tests.estimate(self.resampled[place], name)
        ends = max(0.0, low), min(1.0, high)
        return Level(one.level, self.items[place], value, *ends, one.chance, one.tokens, unseen[one.level])

    def _corrected_sum(self) -> Resampled:
        """The area of every checkpoint: the trapezoid rule over levels without chance."""
        count = len(self.levels)
        weights = (
            [1.0]
            if count == 1
            else [(0.5 if place in (0, count - 1) else 1.0) / (count - 1) for place in range(count)]
        )
        first, *rest = (
            found.scaled((chance, 1.0), weight)
            for found, chance, weight in zip(self.resampled, self.chance, weights, strict=True)
        )
        total = first
        for each in rest:
            total = total + each
        return total

    def _area(self, name: str) -> Measured:
        return self._known(*self.tests.estimate(self._corrected_sum(), name))

    def _area_difference(self, name: str, base: str) -> Measured:
        found = self.tests.difference(self._corrected_sum(), base, name, 0, 0)
        return self._known(found.value, found.low, found.high)

    def _known(self, value: float, low: float, high: float) -> Measured:
        return Measured(value, low, high) if self.enough else Measured(value, math.nan, math.nan)

    def _curves(self, name: str) -> tuple[Floats, Floats]:
        """The mean curve ``[1, levels]`` without chance, and its draws ``[n, levels]``."""
        chance = np.array(self.chance)
        own = list(self.places[name])
        means = np.array([[found.means[own].mean() for found in self.resampled]])
        draws = np.stack([self.tests.drawn_means(found, name) for found in self.resampled], axis=1)
        return (means - chance) / (1 - chance), (draws - chance) / (1 - chance)

    def _halfway(self, name: str) -> Measured:
        mean, draws = self._curves(name)
        place = measured(halfway_places(mean)[0], halfway_places(draws), self.enough)
        return Measured(*(level_at(self.levels, each) for each in vars(place).values()))

    def _halfway_difference(self, name: str, base: str) -> Measured:
        last = len(self.levels) - 1
        sides = [
            [np.clip(halfway_places(curves), 0, last) for curves in self._curves(each)]
            for each in (name, base)
        ]
        value, drawn = (mine - theirs for mine, theirs in zip(*sides, strict=True))
        return measured(value[0], drawn, self.enough)


def _table(samples: Sequence[Samples], level: float) -> Floats:
    """``[clusters, 1 + systems]``: how many items, and the sums of every system's scores."""
    clusters: dict[str, list[tuple[str, int]]] = {}
    for key, (_, cluster) in sorted(samples[0].by_level[level].items()):
        clusters.setdefault(cluster, []).append(key)
    return np.array(
        [
            [len(keys), *(sum(own.by_level[level][key][0] for key in keys) for own in samples)]
            for keys in clusters.values()
        ],
        dtype=float,
    )
