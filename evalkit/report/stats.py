"""Intervals for means of scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

LEVEL = 0.95


def interval(
    values: Sequence[float], clusters: Sequence[str], limits: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """A 95% interval for the mean of ``values``.

    Questions about one image or video (one *cluster*) are not independent, so:

    * right/wrong scores with one question per cluster: the Wilson score interval;
    * otherwise a t interval with the cluster-robust variance of a mean,
      ``G/(G-1) * sum_c (sum_{i in c} (v_i - mean))^2 / n^2`` over ``G`` clusters
      (Liang and Zeger 1986; Miller 2024, arXiv 2411.00640, eq. 4), cut at ``limits``;
    * all scores equal: that variance is 0, which claims too much; Wilson's with ``n = G``.

    Returns NaN twice for fewer than two clusters of scores that aren't right/wrong, or no values.

    >>> low, high = interval([1, 1, 0, 1], ["a", "b", "c", "d"])
    >>> round(low, 3), round(high, 3)
    (0.301, 0.954)
    """
    if not values:
        return (math.nan, math.nan)
    sums: dict[str, float] = defaultdict(float)
    average = sum(values) / len(values)
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += value - average
    low, high = limits
    binary = all(value in (low, high) for value in values)
    if binary and (len(sums) == len(values) or average in limits):
        hits = len(sums) if average == high else sum(value == high for value in values)
        trials = len(sums)
        bottom, top = _wilson(0 if average == low else hits, trials)
        return (low + bottom * (high - low), low + top * (high - low))
    if len(sums) < 2:
        return (math.nan, math.nan)
    return _cluster_robust(average, list(sums.values()), len(values), limits)


def _wilson(hits: int, trials: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    found = binomtest(hits, trials).proportion_ci(confidence_level=LEVEL, method="wilson")
    return (float(found.low), float(found.high))


def _cluster_robust(
    average: float, sums: Sequence[float], count: int, limits: tuple[float, float]
) -> tuple[float, float]:
    from scipy.stats import t

    groups = len(sums)
    variance = groups / (groups - 1) * sum(each * each for each in sums) / count**2
    margin = float(t.ppf((1 + LEVEL) / 2, groups - 1)) * math.sqrt(variance)
    return (max(limits[0], average - margin), min(limits[1], average + margin))
