"""Which arm is best by a user's weights of tasks, how sure that is, and how many more samples would tell."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evalkit.core.errors import UsageError, did_you_mean
from evalkit.report.aggregate import CATEGORIES, BenchmarkColumn, tasks_by_row
from evalkit.report.cluster_table import cluster_table
from evalkit.report.comparison import Comparison
from evalkit.report.differences import FindMetric, RecordsByTask
from evalkit.report.intervals import LEVEL, normal_quantile
from evalkit.report.notes import ONE_SEED
from evalkit.report.paired import POWER
from evalkit.report.seeds import SeedTests
from evalkit.report.steps import counted
from evalkit.store.records_table import score_rows

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 4000
_SEED = 20251023
_MANY_SEEDS = 5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranked:
    """One arm: its weighted score (a fraction), the 95% interval of it, and the share of resamples in which
    it comes out first.
    """

    arm: str
    score: float
    low: float
    high: float
    best: float

    def best_text(self) -> str:
        """The share in whole percent; neither all nor none, since it is one of resamples.

        >>> [Ranked("a", 0, 0, 0, share).best_text() for share in (0.0, 0.5, 0.999)]
        ['<1%', '50%', '>99%']
        """
        if self.best < 0.01:
            return "<1%"
        return ">99%" if self.best > 0.99 else f"{self.best:.0%}"


@dataclass(frozen=True, repr=False)
class Advice:
    """Arms from best to worst.

    ``settled``: the first comes out first in 95% of the resamples. ``factor``: how many times as many samples
    would tell it from the second with 80% power, if their true difference is the one seen. ``seeds`` has the
    number of training seeds of each arm.
    """

    ranked: tuple[Ranked, ...]
    weights: Mapping[str, float]
    settled: bool
    factor: float
    seeds: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Advice: {self.verdict()}>"

    def _repr_html_(self) -> str:
        """The ranking and the verdict, in a notebook."""
        return f"{self.to_pandas().to_html(index=False)}<p>{escape(self.verdict())}</p>"

    def to_pandas(self) -> pd.DataFrame:
        """A frame with one row for each arm, the best first; scores are fractions."""
        import pandas as pd

        return pd.DataFrame([asdict(each) for each in self.ranked])

    def verdict(self) -> str:
        """The advice in one or two sentences."""
        first = self.ranked[0]
        if len(self.ranked) < 2:
            return f"There is only {first.arm}."
        second = self.ranked[1]
        often = f"in {first.best_text().replace('>', 'more than ').replace('<', 'less than ')}"
        if self.settled:
            return (
                f"Take {first.arm}: it comes out first {often} of {RESAMPLES:,} resamples of {self._what()}."
            )
        lead = 100 * (first.score - second.score)
        if not math.isfinite(self.factor):
            return f"The data can't tell {first.arm} from {second.arm}: their scores are the same."
        return (
            f"The data can't tell: {first.arm} leads {second.arm} by {lead:.1f} points, and comes out first "
            f"{often} of {RESAMPLES:,} resamples of {self._what()}. {self.factor:.1f} times as many would "
            "settle it, if the difference is real."
        )

    def conditions(self) -> str:
        """What the advice takes as given, and where seeds are few."""
        given = "This takes the benchmarks and their weights as given"
        single = [arm for arm, count in self.seeds.items() if count == 1]
        few = [f"{arm} {count}" for arm, count in self.seeds.items() if 1 < count < _MANY_SEEDS]
        if single:
            whose = "every arm" if len(single) == len(self.seeds) else ", ".join(single)
            given += f", and the checkpoint of {whose}: {ONE_SEED}"
        if few:
            given += f". There are few training seeds ({', '.join(few)}): how much they vary is hardly known"
        return f"{given}."

    def _what(self) -> str:
        return "training seeds and samples" if any(count > 1 for count in self.seeds.values()) else "samples"


def advise(
    comparison: Comparison,
    records: Mapping[str, RecordsByTask],
    metric_of: FindMetric,
    weights: Mapping[str, float] | None = None,
    members: Mapping[str, Sequence[str]] | None = None,
) -> Advice:
    """Rank arms by their weighted mean over benchmarks.

    Whole clusters (images, videos) are resampled, the same ones for every arm, so that what is hard for all
    arms doesn't blur their order. Without ``weights``, every category counts alike, and every benchmark of a
    category, as in the paper's overall mean. With ``members`` (names of arms by group), groups of training
    seeds are ranked, whose seeds are resampled as well (:mod:`evalkit.report.seeds`).

    Raises:
        UsageError: a weight matches no benchmark, or an arm lacks one that has a weight.
    """
    chosen = resolve_weights(comparison.columns, weights)
    arms = [arm.name for arm in comparison.arms]
    generator = np.random.default_rng(_SEED)
    total: Floats = np.zeros((RESAMPLES, len(arms)))
    scores: Floats = np.zeros(len(arms))
    for column in counted(comparison.columns, "resampling benchmark"):
        weight = chosen[column.task]
        if weight == 0:
            continue
        metric = metric_of(arms[0], column.task)
        table = cluster_table(metric, [score_rows(records[arm].get(column.task, ())) for arm in arms])
        if table is None:
            raise UsageError(
                f"benchmark `{column.task}`",
                f"{', '.join(arms)} share no scored sample",
                f"leave it out: `--weight {column.task}=0`",
            )
        low, high = column.limits
        scores += weight * (_means(table.sums.sum(axis=0, keepdims=True))[0] - low) / (high - low)
        total += weight * (_resampled(table.sums, generator) - low) / (high - low)
    if members is None:
        return _advice(arms, scores, total, chosen, dict.fromkeys(arms, 1))
    places = {name: [arms.index(each) for each in own] for name, own in members.items()}
    tests = SeedTests(places, RESAMPLES)
    whole = np.asarray([scores[own].mean() for own in places.values()])
    drawn = np.column_stack(
        [(total[:, own] * tests.seed_draws[name]).sum(axis=1) for name, own in places.items()]
    )
    seeds = {name: len(own) for name, own in places.items()}
    return _advice(list(places), whole, drawn, chosen, seeds)


def resolve_weights(
    columns: Sequence[BenchmarkColumn], weights: Mapping[str, float] | None
) -> dict[str, float]:
    """A weight for every benchmark, adding up to 1.

    What isn't named counts 1: a benchmark's part of the paper's overall mean (categories alike, and rows of a
    category) is multiplied by its weight. Names are benchmarks, globs or categories; the most particular one
    counts, in this order.

    Raises:
        UsageError: a name matches nothing, two globs say different things of a benchmark, or no weight is
        above 0.
    """
    given = weights or {}
    for name in given:
        if not any(_names(name, column) for column in columns):
            known = [*(column.task for column in columns), *CATEGORIES]
            raise UsageError(
                f"weight for `{name}`",
                f"no benchmark matches.{did_you_mean(name, known)}",
                "name one of the runs'",
            )
    found = {}
    categories = {column.category for column in columns}
    for category in categories:
        own = [column for column in columns if column.category == category]
        rows = tasks_by_row(own)
        for column in own:
            part = 1 / len(categories) / len(rows) / len(rows[column.row or column.task])
            found[column.task] = part * _factor(column, given)
    total = sum(found.values())
    if total <= 0 or any(weight < 0 for weight in given.values()):
        raise UsageError("weights", "none is above 0, or one is below", "give numbers from 0")
    return {column.task: found[column.task] / total for column in columns}


def _names(name: str, column: BenchmarkColumn) -> bool:
    return name == column.category or fnmatch.fnmatchcase(column.task, name)


def _factor(column: BenchmarkColumn, given: Mapping[str, float]) -> float:
    """The weight that was given to a benchmark, by its name, a glob or its category; else 1."""
    if column.task in given:
        return given[column.task]
    globs = {name: weight for name, weight in given.items() if fnmatch.fnmatchcase(column.task, name)}
    if len(set(globs.values())) > 1:
        raise UsageError(
            f"weight of `{column.task}`",
            f"{' and '.join(globs)} say different things",
            f"name it: `--weight {column.task}=NUMBER`",
        )
    return next(iter(globs.values()), given.get(column.category, 1.0))


def _resampled(table: Floats, generator: np.random.Generator) -> Floats:
    """Means of every arm under resampling of clusters; like ones are drawn together (see ``paired``)."""
    kinds, counts = np.unique(table, axis=0, return_counts=True)
    draws = generator.multinomial(int(counts.sum()), counts / counts.sum(), size=RESAMPLES)
    return _means(draws @ kinds)


def _means(sums: Floats) -> Floats:
    means: Floats = sums[:, 1:] / sums[:, :1]
    return means


def _advice(
    arms: Sequence[str],
    scores: Floats,
    total: Floats,
    weights: Mapping[str, float],
    seeds: Mapping[str, int],
) -> Advice:
    top = total.max(axis=1, keepdims=True)
    ties = total >= top - 1e-12
    best = (ties / ties.sum(axis=1, keepdims=True)).mean(axis=0)
    lows, highs = np.quantile(total, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    order = sorted(range(len(arms)), key=lambda place: (-scores[place], arms[place]))
    ranked = tuple(
        Ranked(arms[n], float(scores[n]), float(lows[n]), float(highs[n]), float(best[n])) for n in order
    )
    factor = 1.0
    if len(order) > 1:
        first, second = order[:2]
        lead = float(scores[first] - scores[second])
        spread = float((total[:, first] - total[:, second]).std())
        needed = (normal_quantile((1 + LEVEL) / 2) + normal_quantile(POWER)) * spread
        factor = math.inf if lead <= 0 else max(1.0, (needed / lead) ** 2)
    return Advice(ranked, weights, ranked[0].best >= LEVEL, factor, seeds)
