"""From the attention of samples to figures with intervals, by task, layer and head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evalkit.diagnose.attention.heads import ALL_HEADS, HeadLayout
from evalkit.diagnose.attention.measure import KINDS, AttentionMeasure, Floats, bin_limits
from evalkit.diagnose.attention.options import AttentionOptions
from evalkit.report.intervals import interval

MEAN = "mean"
SHORTEST_FADING = 4
"""Tokens of an answer whose last quarter is compared with its first."""
SHARE, SINK, CURVE, FADING = "visual share", "sink strength", "visual share by answer token", "fading"
DISTANCE, LIFT = "distance share", "distance lift"


@dataclass(frozen=True)
class AttentionRow:
    """One figure.

    Attributes:
        system: the model and its variant.
        task: its name.
        measure: what it is a figure of; see
            :meth:`~evalkit.diagnose.attention.options.AttentionOptions.definition`.
        layer: number of the layer, the first is 1, or ``mean`` of those that were measured.
        heads: number of the head, the first is 1; ``mean`` of all; or of the ``t heads`` and so on.
        axis: of a distance.
        keys: of a distance: ``visual`` or ``text`` ones.
        begin: of distances and numbers of answer tokens: the range's first; of negative distances, its end.
        end: the first that is beyond the range.
        value: a share (0 to 1), or without unit.
        low, high: the 95% interval; None for distances, and where a single cluster gives none.
        samples: how many it is of.
    """

    system: str
    task: str
    measure: str
    layer: int | str
    heads: int | str
    axis: str | None = None
    keys: str | None = None
    begin: float | None = None
    end: float | None = None
    value: float = math.nan
    low: float | None = None
    high: float | None = None
    samples: int = 0


@dataclass
class TaskAttention:
    """The attention of one system's answers to one task, as it is gathered sample by sample.

    ``curves``: the mean visual share of the answer tokens in each range ``[L, ranges]``, NaN where the answer
    has none; ``fadings [L]``; ``distances`` and ``even_distances``: weighted sums over samples.
    """

    system: str
    task: str
    layers: Sequence[int]
    head_layout: HeadLayout
    options: AttentionOptions
    clusters: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    shares: list[Floats] = field(default_factory=list)
    sinks: list[Floats] = field(default_factory=list)
    curves: list[Floats] = field(default_factory=list)
    fadings: list[Floats] = field(default_factory=list)
    distances: Floats | None = None
    even_distances: Floats | None = None

    def add(self, found: AttentionMeasure, cluster: str) -> None:
        """Add a sample."""
        weight = float(len(found.queries.places)) if self.options.average == "queries" else 1.0
        self.clusters.append(cluster)
        self.weights.append(weight)
        self.shares.append(found.share)
        self.sinks.append(found.sink)
        answer = found.by_query[:, np.array(found.queries.answer) >= 0]
        self.curves.append(_curve(answer))
        self.fadings.append(_fading(answer))
        mass, even = weight * found.distances, weight * found.even_distances
        self.distances = mass if self.distances is None else self.distances + mass
        self.even_distances = even if self.even_distances is None else self.even_distances + even

    def rows(self) -> Iterator[AttentionRow]:
        """All figures of the task; none without samples."""
        if not self.shares:
            return
        for layer, places in self._layer_choices():
            for heads, members in self._head_choices():
                own = np.ix_(places, members)
                yield self._row(SHARE, layer, heads, [each[own].mean() for each in self.shares])
                top = 100 / self.options.sink_percent
                sinks = [_ratio(*(each[number][own].sum() for number in (0, 1))) for each in self.sinks]
                yield self._row(SINK, layer, heads, sinks, (0.0, max(top, 1.0)))
            yield from self._answer_rows(layer, places)
            yield from self._distance_rows(layer, places)

    def _answer_rows(self, layer: int | str, places: list[int]) -> Iterator[AttentionRow]:
        for number in range(max(each.shape[1] for each in self.curves)):
            values = [
                float(each[places, number].mean()) if number < each.shape[1] else math.nan
                for each in self.curves
            ]
            begin, end = curve_limits(number)
            yield self._row(CURVE, layer, MEAN, values, begin=begin, end=end)
        values = [float(each[places].mean()) for each in self.fadings]
        if not all(map(math.isnan, values)):
            yield self._row(FADING, layer, MEAN, values, (-1.0, 1.0))

    def _distance_rows(self, layer: int | str, places: list[int]) -> Iterator[AttentionRow]:
        assert self.distances is not None
        assert self.even_distances is not None
        total = sum(self.weights)
        even = self.even_distances[places].mean(axis=0) / total
        for group, name in enumerate(self.head_layout.groups):
            mass = self.distances[places, group].mean(axis=0) / total
            for axis, keys, number in np.argwhere(even > 0).tolist():
                begin, end = bin_limits(number)
                value = float(mass[axis, keys, number])
                place: dict[str, Any] = {
                    "axis": self.head_layout.axes[axis],
                    "keys": KINDS[keys],
                    "begin": begin,
                    "end": end,
                    "samples": len(self.shares),
                }
                where = (self.system, self.task)
                heads = _group_name(name)
                yield AttentionRow(*where, DISTANCE, layer, heads, **place, value=value)
                lift = value / float(even[axis, keys, number])
                yield AttentionRow(*where, LIFT, layer, heads, **place, value=lift)

    def _layer_choices(self) -> Iterator[tuple[int | str, list[int]]]:
        yield MEAN, list(range(len(self.layers)))
        for place, layer in enumerate(self.layers):
            yield layer + 1, [place]

    def _head_choices(self) -> Iterator[tuple[int | str, list[int]]]:
        own = self.head_layout.group_of_head
        yield MEAN, list(range(len(own)))
        if len(self.head_layout.groups) > 1:
            for number, name in enumerate(self.head_layout.groups):
                yield _group_name(name), [head for head, group in enumerate(own) if group == number]
        for head in range(len(own)):
            yield head + 1, [head]

    def _row(
        self,
        measure: str,
        layer: int | str,
        heads: int | str,
        values: Sequence[float],
        limits: tuple[float, float] = (0.0, 1.0),
        **place: Any,
    ) -> AttentionRow:
        """The weighted mean of the values that are known, with its interval."""
        known = [number for number, value in enumerate(values) if not math.isnan(value)]
        found = [min(max(float(values[number]), limits[0]), limits[1]) for number in known]
        weights = [self.weights[number] for number in known]
        value, low, high = math.nan, math.nan, math.nan
        if known:
            value = float(np.average(found, weights=weights))
            low, high = interval(found, [self.clusters[number] for number in known], limits, weights)
        bounds = {"low": None, "high": None} if math.isnan(low) else {"low": low, "high": high}
        return AttentionRow(
            self.system, self.task, measure, layer, heads, **place, value=value, **bounds, samples=len(known)
        )


def curve_limits(number: int) -> tuple[int, int]:
    """The answer tokens of a range, counted from 1: the first, and the first beyond it.

    >>> [curve_limits(number) for number in range(4)]
    [(1, 2), (2, 3), (3, 5), (5, 9)]
    """
    return (1, 2) if number == 0 else (2 ** (number - 1) + 1, 2**number + 1)


def _curve(answer: Floats) -> Floats:
    """Means over the ranges of answer tokens, of ``answer [L, tokens]``."""
    means, number = [], 0
    while curve_limits(number)[0] <= answer.shape[1]:
        begin, end = curve_limits(number)
        means.append(answer[:, begin - 1 : end - 1].mean(axis=1))
        number += 1
    return np.stack(means, axis=1)


def _fading(answer: Floats) -> Floats:
    """The last quarter's mean minus the first's, ``[L]``; NaN for a shorter answer."""
    quarter = answer.shape[1] // 4
    if answer.shape[1] < SHORTEST_FADING:
        return np.full(len(answer), np.nan)
    found: Floats = answer[:, -quarter:].mean(axis=1) - answer[:, :quarter].mean(axis=1)
    return found


def _ratio(found: float, even: float) -> float:
    return found / even if even > 0 else math.nan


def _group_name(name: str) -> str:
    return MEAN if name == ALL_HEADS else f"{name} heads"
