"""Paired differences between two arms on one benchmark: interval, test, and detectable difference.

Questions about one image or video are not independent, so the unit of resampling is the cluster.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from evalkit.report.intervals import LEVEL, normal_quantile

Correction = Literal["holm", "bh", "none"]
POWER = 0.8
RESAMPLES = 4999
_SEED = 20251023

Floats = npt.NDArray[np.float64]
Spread = tuple[float, float, float]


@dataclass(frozen=True)
class ScorePair:
    """Two arms' scores of the same unit (an answer, or a question with all its rotations)."""

    first: float
    second: float
    cluster: str
    weight: float = 1.0


@dataclass(frozen=True)
class Difference:
    """``second - first`` as a weighted mean over ``n`` pairs in ``clusters`` clusters.

    ``low`` and ``high`` bound it with 95% confidence: percentile bootstrap over clusters. ``p`` is of
    McNemar's exact test (``test`` says which) for right/wrong scores with one pair a cluster, else of
    a t test with cluster-robust variance; ``corrected`` is ``p`` after correction over the columns of
    a table. ``detectable`` is the smallest true difference that such a test would find with 80% power
    at this n. ``discordant`` counts pairs with different scores. Over several training seeds, ``by_seed`` has
    each checkpoint's difference to the baseline's mean.
    """

    value: float
    low: float
    high: float
    p: float
    test: str
    n: int
    clusters: int
    discordant: int
    detectable: float
    corrected: float = math.nan
    by_seed: Mapping[str, float] = field(default_factory=dict)

    @property
    def significant(self) -> bool:
        """Whether the corrected (or, without correction, the plain) p value is below 5%."""
        p = self.p if math.isnan(self.corrected) else self.corrected
        return p < 1 - LEVEL


def difference(pairs: Sequence[ScorePair], seed: int = _SEED) -> Difference | None:
    """Compare two arms; None where there is nothing to compare.

    The estimate of a ratio of cluster sums, its cluster-robust variance and the bootstrap over
    clusters are those of Miller 2024 (arXiv 2411.00640), section 4.2, with weights.
    """
    if not pairs:
        return None
    sums, weights = _clustered(pairs)
    total = float(weights.sum())
    value = float(sums.sum()) / total
    deviation = _deviation(sums - value * weights, total)
    low, high = _bootstrap(sums, weights, seed)
    discordant = [pair for pair in pairs if pair.first != pair.second]
    binary = all(score in (0.0, 1.0) for pair in pairs for score in (pair.first, pair.second))
    if binary and len(sums) == len(pairs):
        test, p = "McNemar", _mcnemar(discordant)
    else:
        test, p = "clustered t", _clustered_t(value, deviation, len(sums))
    return Difference(
        value=value,
        low=low,
        high=high,
        p=p,
        test=test,
        n=len(pairs),
        clusters=len(sums),
        discordant=len(discordant),
        detectable=_detectable(deviation, weights, len(sums)),
    )


def corrected(differences: Mapping[str, Difference], correction: Correction) -> dict[str, Difference]:
    """The same differences with ``corrected`` p values: Holm's, or Benjamini and Hochberg's."""
    known = {name: found for name, found in differences.items() if not math.isnan(found.p)}
    if correction == "none" or not known:
        return dict(differences)
    values = _CORRECTED[correction](np.asarray([found.p for found in known.values()]))
    mended = {
        name: replace(found, corrected=float(value))
        for (name, found), value in zip(known.items(), values, strict=True)
    }
    return {**differences, **mended}


def _holm(values: Floats) -> Floats:
    """Holm 1979. statsmodels' ``multipletests`` gives the same, but collects garbage in every call."""
    order = np.argsort(values)
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return _placed(stepped, order)


def _benjamini_hochberg(values: Floats) -> Floats:
    """Benjamini and Hochberg 1995."""
    order = np.argsort(values)
    ranks = np.arange(1, len(values) + 1) / float(len(values))
    stepped = np.minimum.accumulate((values[order] / ranks)[::-1])[::-1]
    return _placed(stepped, order)


def _placed(stepped: Floats, order: npt.NDArray[np.intp]) -> Floats:
    found: Floats = np.empty_like(stepped)
    found[order] = np.minimum(stepped, 1)
    return found


_CORRECTED: Mapping[str, Callable[[Floats], Floats]] = {"holm": _holm, "bh": _benjamini_hochberg}


def mean_difference(parts: Sequence[Spread]) -> Spread:
    """The unweighted mean of independent differences, each ``(value, low, high)``: their standard errors,
    read from their intervals, add up in squares.
    """
    value = sum(part[0] for part in parts) / len(parts)
    margin = math.sqrt(sum(((high - low) / 2) ** 2 for _, low, high in parts)) / len(parts)
    return value, value - margin, value + margin


def _clustered(pairs: Sequence[ScorePair]) -> tuple[Floats, Floats]:
    """Weighted differences and weights, summed by cluster."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for pair in pairs:
        cell = sums[pair.cluster]
        cell[0] += pair.weight * (pair.second - pair.first)
        cell[1] += pair.weight
    table = np.asarray(list(sums.values()), dtype=np.float64)
    return table[:, 0], table[:, 1]


def _deviation(residuals: Floats, total: float) -> float:
    """Standard error with cluster-robust variance (see :mod:`evalkit.report.intervals`)."""
    groups = len(residuals)
    if groups < 2:
        return math.nan
    return math.sqrt(groups / (groups - 1) * float(residuals @ residuals)) / total


def _bootstrap(sums: Floats, weights: Floats, seed: int) -> tuple[float, float]:
    """Percentile interval of the ratio under resampling of whole clusters.

    Clusters with the same sum and weight are exchangeable, so that how often each kind is drawn is
    multinomial; this is ``scipy.stats.bootstrap(method="percentile")`` without its G x resamples table.
    """
    kinds, counts = np.unique(np.column_stack([sums, weights]), axis=0, return_counts=True)
    groups = int(counts.sum())
    if groups < 2:
        return math.nan, math.nan
    draws = np.random.default_rng(seed).multinomial(groups, counts / groups, size=RESAMPLES)
    ratios = (draws @ kinds[:, 0]) / (draws @ kinds[:, 1])
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _mcnemar(discordant: Sequence[ScorePair]) -> float:
    """The exact test: of the discordant pairs, a fair coin decides."""
    from scipy.special import bdtr

    better = sum(pair.second > pair.first for pair in discordant)
    fewer = min(better, len(discordant) - better)
    return min(1.0, 2 * float(bdtr(float(fewer), len(discordant), 0.5)))


def _clustered_t(value: float, deviation: float, groups: int) -> float:
    from scipy.special import stdtr

    if groups < 2:
        return math.nan
    if deviation == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stdtr(groups - 1, -abs(value) / deviation))


def _detectable(deviation: float, weights: Floats, groups: int) -> float:
    """``(z_{0.975} + z_{0.8})`` standard errors; where the arms never differ, as if one cluster did."""
    if groups < 2:
        return math.nan
    error = deviation or float(weights.max()) / float(weights.sum())
    return (normal_quantile((1 + LEVEL) / 2) + normal_quantile(POWER)) * error
