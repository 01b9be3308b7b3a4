"""Intervals for means of scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import cache

LEVEL = 0.95


def interval(
    values: Sequence[float],
    clusters: Sequence[str],
    limits: tuple[float, float] = (0.0, 1.0),
    weights: Sequence[float] | None = None,
) -> tuple[float, float]:
    """A 95% interval for the mean of ``values``, weighted if there are ``weights``.

    Questions about one image or video (one *cluster*) are not independent, so:

    * right/wrong scores with one question per cluster: the Wilson score interval;
    * otherwise a t interval with the cluster-robust variance of a mean,
      ``G/(G-1) * sum_c (sum_{i in c} w_i (v_i - mean))^2 / (sum_i w_i)^2`` over ``G`` clusters
      (Liang and Zeger 1986; Miller 2024, arXiv 2411.00640, eq. 4), cut at ``limits``;
    * where that variance is 0 (all clusters alike), which claims too much: Wilson's with ``n = G``,
      the widest that scores within ``limits`` allow.

    Returns NaN twice for no values, and for one cluster that is not all right or all wrong.

    >>> low, high = interval([1, 1, 0, 1], ["a", "b", "c", "d"])
    >>> round(low, 3), round(high, 3)
    (0.301, 0.954)
    """
    if not values:
        return (math.nan, math.nan)
    low, high = limits
    known = weights or [1.0] * len(values)
    total = sum(known)
    average = sum(value * weight for value, weight in zip(values, known, strict=True)) / total
    sums: dict[str, float] = defaultdict(float)
    for value, cluster, weight in zip(values, clusters, known, strict=True):
        sums[cluster] += weight * (value - average)
    groups = len(sums)
    if groups < 2 and average not in limits:
        return (math.nan, math.nan)
    single = groups == len(values) and all(value in limits for value in values) and len(set(known)) == 1
    margin = 0.0 if single or groups < 2 else _margin(list(sums.values()), total)
    if margin <= 1e-12 * (high - low):
        bottom, top = wilson((average - low) / (high - low), groups)
        return (low + bottom * (high - low), low + top * (high - low))
    return (max(low, average - margin), min(high, average + margin))


def wilson(share: float, trials: int) -> tuple[float, float]:
    """Wilson's score interval of a share of ``trials``; the share need not be a whole number of
    them (equal to ``scipy.stats.binomtest(...).proportion_ci(method="wilson")`` where it is).
    """
    z = normal_quantile((1 + LEVEL) / 2)
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    margin = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    return (max(0.0, centre - margin) if share > 0 else 0.0, min(1.0, centre + margin) if share < 1 else 1.0)


def _margin(sums: Sequence[float], total: float) -> float:
    """Half the width of the t interval; ``sums`` are the clusters' summed deviations."""
    groups = len(sums)
    variance = groups / (groups - 1) * sum(each * each for each in sums) / total**2
    return t_quantile((1 + LEVEL) / 2, groups - 1) * math.sqrt(variance)


# Not out of scipy: importing its distributions takes longer than most comparisons do.
@cache
def normal_quantile(share: float) -> float:
    """The quantile of the standard normal distribution."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)


@cache
def t_quantile(share: float, freedom: int) -> float:
    """The quantile above the median of Student's t with a whole number of degrees of freedom, by Newton's
    method from the normal one (Abramowitz and Stegun 26.7.5).
    """
    found = z = normal_quantile(share)
    found += (z**3 + z) / (4 * freedom)
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    for _ in range(50):
        density = math.exp(log_scale - (freedom + 1) / 2 * math.log1p(found**2 / freedom))
        step = ((1 + _t_within(found, freedom)) / 2 - share) / density
        found = max(found - step, found / 2)
        if abs(step) <= 1e-9 * found:  # the next step would be its square
            break
    return found


def _t_within(bound: float, freedom: int) -> float:
    """The probability that Student's t lies within ``bound`` of 0 (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    angle = math.atan(bound / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = cosine if odd else 1.0, 0.0
    for place in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine * cosine * (place - 1) / place
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
