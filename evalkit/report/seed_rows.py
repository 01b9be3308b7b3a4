"""``--group-by``: the checkpoints of one method, each of another training seed, as one column of a table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from evalkit.core.errors import UsageError
from evalkit.metrics.base import Metric, group_labels
from evalkit.report.aggregate import CATEGORIES, BenchmarkColumn, Cell, Estimate, tasks_by_row
from evalkit.report.cluster_table import ClusterTable, cluster_table
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.differences import find_arm
from evalkit.report.gather import CombinedRuns
from evalkit.report.labels import Labels, shown_names, with_labels
from evalkit.report.paired import Correction, Difference, Spread, corrected
from evalkit.report.seeds import Resampled, SeedTests
from evalkit.store.records_table import ScoreRow, score_rows

GroupBy = Literal["rope", "label"]
GROUPS: tuple[GroupBy, ...] = ("rope", "label")
_SEED = 20251023
_STEP = re.compile(r"(?:checkpoint|ckpt|global_step|step|iter|epoch)[-_]?\d+")


@dataclass(frozen=True)
class SeedGroups:
    """Runs whose arms are grouped: ``arms`` are the groups, ``members`` the names of each group's arms."""

    runs: CombinedRuns
    arms: Sequence[Arm]
    members: Mapping[str, Sequence[str]]

    @cached_property
    def tests(self) -> SeedTests:
        """Intervals and tests for the groups; a checkpoint's place is that in the runs."""
        places = {arm.name: place for place, arm in enumerate(self.runs.comparison.arms)}
        return SeedTests({name: [places[each] for each in own] for name, own in self.members.items()})

    def comparison(self, baseline: str | None = None, correction: Correction = "none") -> Comparison:
        """The table of the groups, with their differences to ``baseline`` if one is given.

        Raises:
            UsageError: no group, or several, go by the baseline's name.
        """
        base = None if baseline is None else find_arm(self.arms, baseline).name
        rows = _SeedRows(self, base)
        for column in self.runs.comparison.columns:
            rows.add(column)
        table = self.runs.comparison
        notes = [
            f"{arm.name}: mean over {arm.seeds} training seeds: {', '.join(self.members[arm.name])}"
            for arm in self.arms
            if arm.seeds > 1
        ]
        by_seed = {arm.name: self._means_by_seed(arm.name) for arm in self.arms if arm.seeds > 1}
        found = replace(
            table,
            arms=list(self.arms),
            cells=rows.cells,
            mean_spreads={
                group: {name: float(np.std(list(each.values()), ddof=1)) for name, each in means.items()}
                for group, means in by_seed.items()
            },
            mean_by_seed=by_seed,
            notes=[*notes, *self._lacking(), *table.notes],
        )
        if base is None:
            return found
        differences = {name: corrected(each, correction) for name, each in rows.differences.items()}
        return replace(
            found,
            baseline=base,
            correction=correction,
            differences=differences,
            parts=rows.corrected_parts(correction),
            mean_differences={name: dict(rows.mean_differences(name)) for name in differences},
        )

    def checkpoints(self) -> dict[str, list[Arm]]:
        """The arms of each group."""
        arms = {arm.name: arm for arm in self.runs.comparison.arms}
        return {name: [arms[each] for each in own] for name, own in self.members.items()}

    def sizes(self) -> dict[str, dict[str, int | None]]:
        """How many samples the benchmarks have, by group and task."""
        found = self.runs.sizes()
        return {
            name: {task: size for each in own for task, size in found[each].items()}
            for name, own in self.members.items()
        }

    def _means_by_seed(self, group: str) -> dict[str, dict[str, float]]:
        """Every checkpoint's means that all checkpoints of the group have."""
        means = {each: self.runs.comparison.means(each) for each in self.members[group]}
        names = next(iter(means.values()))
        found = {name: {each: own.get(name) for each, own in means.items()} for name in names}
        return {
            name: {each: value for each, value in own.items() if value is not None}
            for name, own in found.items()
            if None not in own.values()
        }

    def _lacking(self) -> Iterator[str]:
        """Notes on benchmarks that some checkpoints of a group were run on, and others weren't."""
        cells = self.runs.comparison.cells
        for group, own in self.members.items():
            for column in self.runs.comparison.columns:
                absent = [each for each in own if column.task not in cells[each]]
                if absent and len(absent) < len(own):
                    yield f"{group}: no mean over fewer seeds: {column.task} lacks {', '.join(absent)}"


def group_seeds(runs: CombinedRuns, by: GroupBy, labels: Labels) -> SeedGroups:
    """Group arms of one variant, or of one label: they are taken for training seeds of one method.

    Raises:
        UsageError: a group holds what are no seeds of one method: several variants or model families, one
            checkpoint twice, several steps of one training; or a label fits nothing, or ``by`` is unknown.
    """
    if by not in GROUPS:
        raise UsageError(f"group by `{by}`", "there is no such way", f"give one of {', '.join(GROUPS)}")
    arms = runs.comparison.arms
    if by == "label":
        arms = with_labels(arms, labels, several=True)
    found: dict[str, list[Arm]] = {}
    for arm in arms:
        found.setdefault(arm.rope if by == "rope" else arm.label or arm.name, []).append(arm)
    groups = []
    for name, own in found.items():
        for one, two in combinations(own, 2):
            _check_seeds(name, one, two)
        shared = {arm.label for arm in own}
        label = shared.pop() if len(shared) == 1 else ""
        groups.append(_group(own[0].name if len(own) == 1 else name, label, own))
    if by == "rope":
        groups = with_labels(groups, labels)
    shown = shown_names(groups)
    members = {
        shown[arm.name]: [each.name for each in own] for arm, own in zip(groups, found.values(), strict=True)
    }
    return SeedGroups(runs, [replace(arm, name=shown[arm.name]) for arm in groups], members)


def _group(name: str, label: str, own: Sequence[Arm]) -> Arm:
    def joined(field: str) -> str:
        return ", ".join(dict.fromkeys(getattr(arm, field) for arm in own))

    return replace(
        own[0],
        name=name,
        model=joined("model"),
        fingerprint=joined("fingerprint"),
        run=joined("run"),
        system=joined("system"),
        label=label,
        seeds=len(own),
    )


def _check_seeds(group: str, one: Arm, two: Arm) -> None:
    """Refuse two arms of one group that are no two trainings of one method."""
    why = None
    if one.rope != two.rope:
        why = f"they are two variants, `{one.rope}` and `{two.rope}`"
    elif one.family != two.family:
        why = f"they are of two model families, {one.family} and {two.family}"
    elif one.fingerprint == two.fingerprint or one.model == two.model:
        why = "they are one checkpoint"
    elif Path(one.model).parent == Path(two.model).parent and all(
        _STEP.fullmatch(Path(arm.model).name) for arm in (one, two)
    ):
        why = "they are two steps of one training"
    if why:
        raise UsageError(
            f"`{one.name}` ({one.run}) and `{two.name}` ({two.run}) as training seeds of `{group}`",
            why,
            "leave one out, or group by labels of your own (`--group-by label --label NAME=LABEL`)",
        )


class _SeedRows:
    """Cells and differences of the groups, filled benchmark by benchmark."""

    def __init__(self, groups: SeedGroups, base: str | None) -> None:
        self.groups = groups
        self.base = base
        self.others = [arm.name for arm in groups.arms if base not in (None, arm.name)]
        self.generator = np.random.default_rng(_SEED)
        self.cells: dict[str, dict[str, Cell]] = {arm.name: {} for arm in groups.arms}
        self.differences: dict[str, dict[str, Difference]] = {name: {} for name in self.others}
        self.parts: dict[str, dict[tuple[str, str, str], Difference]] = {name: {} for name in self.others}
        self.resampled: dict[str, Resampled] = {}

    def add(self, column: BenchmarkColumn) -> None:
        """Fill in one benchmark."""
        runs = self.groups.runs
        sides = {
            arm.name: score_rows(runs.records[arm.name].get(column.task, ())) for arm in runs.comparison.arms
        }
        having = [name for name, rows in sides.items() if rows]
        intervals: dict[tuple[str, str], Resampled] = {}
        if having:
            metric = runs.metric(having[0], column.task)
            table = cluster_table(metric, [sides[name] for name in having])
            if table is not None:
                self.resampled[column.task] = self._resampled(table.sums, having)
                for name in self._comparable(having):
                    found = self._difference(self.resampled[column.task], table, having, name)
                    self.differences[name][column.task] = found
            for (group, label), part in _by_label(metric, [sides[name] for name in having]):
                intervals[group, label] = self._resampled(part.sums, having)
                for name in self._comparable(having):
                    found = self._difference(intervals[group, label], part, having, name)
                    self.parts[name][column.task, group, label] = found
        for name, own in self.groups.members.items():
            cells = [runs.comparison.cells[each].get(column.task) for each in own]
            known = [cell for cell in cells if cell is not None]
            if len(known) == len(cells):
                self.cells[name][column.task] = self._cell(name, column, known, intervals)

    def corrected_parts(self, correction: Correction) -> dict[str, dict[tuple[str, str, str], Difference]]:
        """Differences by label, p values corrected over the labels of each breakdown."""
        found: dict[str, dict[tuple[str, str, str], Difference]] = {}
        for name, parts in self.parts.items():
            families: dict[tuple[str, str], dict[str, Difference]] = {}
            for (task, group, label), each in parts.items():
                families.setdefault((task, group), {})[label] = each
            found[name] = {
                (task, group, label): each
                for (task, group), labels in families.items()
                for label, each in corrected(labels, correction).items()
            }
        return found

    def mean_differences(self, name: str) -> Iterator[tuple[str, Spread]]:
        """Differences of the table's means: a checkpoint's seed is the same in all benchmarks."""
        assert self.base is not None
        for mean, weights in _mean_weights(self.groups.runs.comparison.columns):
            if not weights.keys() <= self.resampled.keys():
                continue
            limits = {column.task: column.limits for column in self.groups.runs.comparison.columns}
            first, *rest = (self.resampled[task].scaled(limits[task], part) for task, part in weights.items())
            total = first
            for each in rest:
                total = total + each
            found = self.groups.tests.difference(total, self.base, name, 0, 0)
            if not math.isnan(found.low):
                yield mean, (found.value, found.low, found.high)

    def _resampled(self, sums: npt.NDArray[np.float64], having: Sequence[str]) -> Resampled:
        """The table's means with a place for every arm; NaN for those that lack the benchmark."""
        arms = self.groups.runs.comparison.arms
        whole = np.full((len(sums), 1 + len(arms)), math.nan)
        whole[:, [0, *(1 + place for place, arm in enumerate(arms) if arm.name in having)]] = sums
        return Resampled.of(whole, self.generator)

    def _comparable(self, having: Sequence[str]) -> list[str]:
        """The groups, all of whose checkpoints have a benchmark, if all of the baseline's have it."""
        members = self.groups.members
        complete = [name for name, own in members.items() if set(own) <= set(having)]
        return [name for name in self.others if name in complete] if self.base in complete else []

    def _difference(
        self, found: Resampled, table: ClusterTable, having: Sequence[str], name: str
    ) -> Difference:
        assert self.base is not None
        means = [
            table.units[:, [having.index(each) for each in self.groups.members[group]]].mean(axis=1)
            for group in (self.base, name)
        ]
        discordant = int((np.abs(means[0] - means[1]) > 1e-12).sum())
        tests = self.groups.tests
        difference = tests.difference(found, self.base, name, len(table.units), discordant)
        if len(self.groups.members[name]) < 2:
            return difference
        base = found.means[list(tests.members[self.base])].mean()
        values = found.means[list(tests.members[name])] - base
        by_seed = dict(zip(self.groups.members[name], map(float, values), strict=True))
        return replace(difference, by_seed=by_seed)

    def _cell(
        self,
        name: str,
        column: BenchmarkColumn,
        cells: Sequence[Cell],
        intervals: Mapping[tuple[str, str], Resampled],
    ) -> Cell:
        if len(cells) == 1:
            return replace(cells[0], arm=name)
        own = self.groups.members[name]
        breakdown: dict[str, dict[str, Estimate]] = {}
        for group in cells[0].breakdown:
            for label in cells[0].breakdown[group]:
                found = [cell.breakdown.get(group, {}).get(label) for cell in cells]
                whole = [each for each in found if each is not None]
                if len(whole) == len(cells):
                    parts = breakdown.setdefault(group, {})
                    parts[label] = self._estimate(name, column, whole, intervals.get((group, label)))
        return Cell(
            arm=name,
            task=column.task,
            estimate=self._estimate(
                name, column, [cell.estimate for cell in cells], self.resampled.get(column.task)
            ),
            expected=max(cell.expected for cell in cells),
            counts={rate: sum(cell.counts[rate] for cell in cells) for rate in cells[0].counts},
            figures=_mean_figures(cells),
            breakdown=breakdown,
            unreliable=[
                f"{each}: {why}" for each, cell in zip(own, cells, strict=True) for why in cell.unreliable
            ],
            by_seed={each: cell.estimate.value for each, cell in zip(own, cells, strict=True)},
        )

    def _estimate(
        self, name: str, column: BenchmarkColumn, found: Sequence[Estimate], resampled: Resampled | None
    ) -> Estimate:
        """The mean over seeds; its interval has the width that the samples of all arms show."""
        values = [each.value for each in found]
        value = float(np.mean(values))
        low = high = math.nan
        if resampled is not None:
            middle, bottom, _ = self.groups.tests.estimate(resampled, name)
            low = max(column.limits[0], value - (middle - bottom))
            high = min(column.limits[1], value + (middle - bottom))
        spread = float(np.std(values, ddof=1))
        return Estimate(value, low, high, min(each.n for each in found), spread)


def _mean_figures(cells: Sequence[Cell]) -> dict[str, float]:
    names = [name for name in cells[0].figures if all(name in cell.figures for cell in cells)]
    return {name: float(np.mean([cell.figures[name] for cell in cells])) for name in names}


def _by_label(
    metric: Metric, sides: Sequence[Sequence[ScoreRow]]
) -> Iterator[tuple[tuple[str, str], ClusterTable]]:
    """The tables of every breakdown's labels that all arms have a score for."""
    members: dict[tuple[str, str], list[list[ScoreRow]]] = {}
    for place, side in enumerate(sides):
        for row in side:
            for group, labels in row.groups.items():
                for label in group_labels(labels):
                    members.setdefault((group, label), [[] for _ in sides])[place].append(row)
    for key, own in members.items():
        table = cluster_table(metric, own)
        if table is not None:
            yield key, table


def _mean_weights(columns: Sequence[BenchmarkColumn]) -> Iterator[tuple[str, dict[str, float]]]:
    """The weight of every benchmark in each of a table's means, by the mean's name."""
    categories = [each for each in CATEGORIES if any(column.category == each for column in columns)]
    overall: dict[str, float] = {}
    for category in categories:
        rows = tasks_by_row([column for column in columns if column.category == category])
        weights = {task: 1 / len(rows) / len(tasks) for tasks in rows.values() for task in tasks}
        yield category, weights
        overall |= {task: part / len(categories) for task, part in weights.items()}
        for row, tasks in rows.items():
            if len(tasks) > 1:
                yield row, dict.fromkeys(tasks, 1 / len(tasks))
    yield "overall", overall
