"""Training seeds: several checkpoints of one method as one row, and tests that respect seeds and samples.

A score of a method varies with the seed of its training and with the samples of the benchmark. Both are
crossed: every checkpoint answers the same samples. So the bootstrap resamples both (Owen 2007,
doi:10.1214/07-AOAS122): the checkpoints of each method, the same draw for all benchmarks, and the clusters of
each benchmark, the same draw for all checkpoints. ``docs/statistics.md`` has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from evalkit.report.intervals import LEVEL
from evalkit.report.paired import POWER, Difference, Spread

RESAMPLES = 2000
_SEED = 20251023
_ROUNDING = 1e-14  # what sums of equal scores may differ by, as a share of them

Floats = npt.NDArray[np.float64]
Members = Mapping[str, Sequence[int]]
"""The places of each method's checkpoints among all."""


@dataclass(frozen=True)
class Resampled:
    """Mean scores of M checkpoints on the same samples, and how they vary with the samples.

    ``means`` ``[M]``; ``draws`` ``[RESAMPLES, M]``, the means under resampling of clusters; ``covariance``
    ``[M, M]`` of the means over samples, robust to clusters; ``clusters`` is their number. Sums of benchmarks
    are of the same form.
    """

    means: Floats
    draws: Floats
    covariance: Floats
    clusters: int

    @classmethod
    def of(cls, table: Floats, generator: np.random.Generator) -> Resampled:
        """From ``[clusters, 1 + M]``: weights, then every checkpoint's weighted scores."""
        weights, scores = table[:, :1], table[:, 1:]
        total = float(weights.sum())
        means: Floats = scores.sum(axis=0) / total
        groups = len(table)
        residuals = (scores - weights * means) / total
        robust = groups / (groups - 1) if groups > 1 else math.nan
        # Clusters with the same sums are exchangeable (see ``paired``).
        kinds, counts = np.unique(table, axis=0, return_counts=True)
        sums = generator.multinomial(groups, counts / groups, size=RESAMPLES) @ kinds
        return cls(means, sums[:, 1:] / sums[:, :1], robust * (residuals.T @ residuals), groups)

    def scaled(self, limits: tuple[float, float], weight: float) -> Resampled:
        """The scores as fractions of their range, times a weight."""
        low, width = limits[0], limits[1] - limits[0]
        return Resampled(
            weight * (self.means - low) / width,
            weight * (self.draws - low) / width,
            self.covariance * (weight / width) ** 2,
            self.clusters,
        )

    def __add__(self, other: Resampled) -> Resampled:
        """The sum of two benchmarks, whose samples are independent."""
        return Resampled(
            self.means + other.means,
            self.draws + other.draws,
            self.covariance + other.covariance,
            min(self.clusters, other.clusters),
        )


@dataclass(frozen=True)
class SeedTests:
    """Intervals and tests for methods of one checkpoint or several.

    Seeds are drawn once, for all benchmarks: of S checkpoints S - 1 with replacement, which makes the
    variance of their mean unbiased (McCarthy and Snowden 1985; Rao and Wu 1988,
    doi:10.1080/01621459.1988.10478591).
    """

    members: Members
    resamples: int = RESAMPLES

    @cached_property
    def seed_draws(self) -> dict[str, Floats]:
        """For each method ``[resamples, S]``: the shares of its checkpoints in every resample."""
        generator = np.random.default_rng(_SEED)
        found = {}
        for name, places in self.members.items():
            count = len(places)
            drawn = generator.multinomial(max(count - 1, 1), [1 / count] * count, size=self.resamples)
            found[name] = drawn / max(count - 1, 1)
        return found

    def estimate(self, found: Resampled, method: str) -> Spread:
        """A method's mean over its checkpoints, with its 95% interval."""
        value, error, freedom = self._contrast(found, {method: 1.0})
        margin = _quantile((1 + LEVEL) / 2, freedom) * error
        return value, value - margin, value + margin

    def difference(self, found: Resampled, base: str, method: str, n: int, discordant: int) -> Difference:
        """A method's mean minus that of ``base``, over ``n`` units of which ``discordant`` differ."""
        from scipy.stats import t

        value, error, freedom = self._contrast(found, {method: 1.0, base: -1.0})
        margin = _quantile((1 + LEVEL) / 2, freedom) * error
        if math.isnan(error):
            p = math.nan
        elif error == 0:
            p = 0.0 if value else 1.0
        else:
            p = float(2 * t.sf(abs(value) / error, freedom))
        return Difference(
            value=value,
            low=value - margin,
            high=value + margin,
            p=p,
            test="t over seeds and clusters",
            n=n,
            clusters=found.clusters,
            discordant=discordant,
            detectable=(_quantile((1 + LEVEL) / 2, freedom) + _quantile(POWER, freedom)) * error,
        )

    def drawn_means(self, found: Resampled, method: str) -> Floats:
        """``[RESAMPLES]``: a method's mean when both seeds and clusters are resampled."""
        means: Floats = (found.draws[:, self.members[method]] * self.seed_draws[method]).sum(axis=1)
        return means

    def _contrast(self, found: Resampled, signs: Mapping[str, float]) -> tuple[float, float, float]:
        """Value, standard error and degrees of freedom of a sum of methods' means.

        The bootstrap counts the interaction of seeds and samples three times (Owen 2007, theorem 3); what is
        too much is taken off. A method of one checkpoint beside others of several is taken to vary with the
        seed as they do. The degrees of freedom are Satterthwaite's (1946), of seeds and of clusters.
        """
        own = [place for name in signs for place in self.members[name]]
        weights = np.asarray(
            [sign / len(self.members[name]) for name, sign in signs.items() for _ in self.members[name]]
        )
        drawn: Floats = np.zeros(RESAMPLES)
        excess = 0.0
        for name, sign in signs.items():
            places = list(self.members[name])
            drawn += sign * self.drawn_means(found, name)
            excess += 2 * _interaction(found.covariance[np.ix_(places, places)])
        value = float(weights @ found.means[own])
        value = 0.0 if abs(value) <= _ROUNDING * float(abs(found.means[own]).max()) else value
        if found.clusters < 2:
            return value, math.nan, math.nan
        seeds, unknown = self._seed_variances(found, signs)
        samples = float(weights @ found.covariance[np.ix_(own, own)] @ weights)
        least = max(samples, sum(variance for variance, _ in seeds) - unknown)
        variance = max(float(drawn.var(ddof=1)) - excess, least) + unknown
        parts = [*seeds, (samples, found.clusters - 1)]
        squares = sum(part**2 / freedom for part, freedom in parts)
        total = sum(part for part, _ in parts)
        error = math.sqrt(variance)
        error = 0.0 if error <= math.sqrt(_ROUNDING) * float(abs(found.means[own]).max()) else error
        return value, error, total**2 / squares if squares > 0 else found.clusters - 1

    def _seed_variances(
        self, found: Resampled, signs: Mapping[str, float]
    ) -> tuple[list[tuple[float, int]], float]:
        """The variance of each method's mean over seeds with its degrees of freedom, and how much of that is
        assumed for methods of one checkpoint.
        """
        counts = {name: len(self.members[name]) for name in signs}
        spread = {
            name: float(found.means[list(self.members[name])].var(ddof=1))
            for name in signs
            if counts[name] > 1
        }
        single = len(signs) - len(spread)
        if not spread or not single:
            return [(spread[name] / counts[name], counts[name] - 1) for name in spread], 0.0
        # One checkpoint beside another method's several: one variance for both.
        assumed = single * sum(spread.values()) / len(spread)
        known = sum(spread[name] / counts[name] for name in spread)
        return [(known + assumed, sum(counts[name] - 1 for name in spread))], assumed


def _interaction(covariance: Floats) -> float:
    """The variance of a mean over S checkpoints that is due to what is of one checkpoint and one cluster
    alone; from ``[S, S]``, the covariance of the checkpoints' means over clusters.
    """
    count = len(covariance)
    if count < 2:
        return 0.0
    return float(np.trace(covariance) - covariance.sum() / count) / (count * (count - 1))


def _quantile(level: float, freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf(level, freedom))
