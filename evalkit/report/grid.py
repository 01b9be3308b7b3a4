"""A comparison as the paper prints it: rows are benchmarks by category, columns are variants.

Every format (terminal, Markdown, LaTeX, HTML) is drawn from these rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalkit.report.aggregate import CATEGORIES, BenchmarkColumn, Cell, Estimate, tasks_by_row
from evalkit.report.comparison import Comparison, Published
from evalkit.report.paired import Difference

MISSING = "–"
PARTIAL = "partial"
UNRELIABLE = "UNRELIABLE"
BEST, SECOND = 1, 2


@dataclass(frozen=True)
class TableCell:
    """One score as text, with its interval and its difference to the baseline (empty where there is
    none); ``rank`` is 1 for the best of its row, 2 for the second, else 0.
    """

    score: str
    interval: str = ""
    difference: str = ""
    rank: int = 0
    significant: bool = False


@dataclass(frozen=True)
class TableRow:
    """One row: a benchmark, a row of the paper that several benchmarks share, or a mean."""

    category: str
    label: str
    entries: tuple[TableCell, ...]
    mean: bool = False


def table_rows(comparison: Comparison) -> list[TableRow]:
    """The benchmarks of each category, then their mean where there are several, then the mean of all."""
    found: list[TableRow] = []
    for category in CATEGORIES:
        columns = [column for column in comparison.columns if column.category == category]
        rows = tasks_by_row(columns)
        for row, tasks in rows.items():
            found += [_benchmark(comparison, column) for column in columns if column.task in tasks]
            if len(tasks) > 1:
                found.append(_mean(comparison, category, row, row, tasks))
        if len(rows) > 1:
            tasks = [column.task for column in columns]
            found.append(_mean(comparison, category, f"mean of {len(rows)}", category, tasks))
    if len({column.category for column in comparison.columns}) > 1:
        tasks = [column.task for column in comparison.columns]
        found.append(_mean(comparison, "overall", "mean of categories", "overall", tasks))
    return found


def breakdown_rows(comparison: Comparison) -> Iterator[tuple[str, list[TableRow]]]:
    """The name of every breakdown of every benchmark, and a row for each of its labels."""
    for column in comparison.columns:
        cells = [cells[column.task] for cells in comparison.cells.values() if column.task in cells]
        for group in dict.fromkeys(group for cell in cells for group in cell.breakdown):
            labels = dict.fromkeys(label for cell in cells for label in cell.breakdown.get(group, {}))
            yield f"{column.task} by {group}", [_label(comparison, column, group, label) for label in labels]


def score_text(cell: Cell | None, column: BenchmarkColumn) -> str:
    """A score as the paper prints it: out of 100 where the metric is a fraction.

    A trailing ``*`` says that some samples have no score, ``UNRELIABLE`` that so many answers failed that
    it says little about the model.
    """
    if cell is None or math.isnan(cell.estimate.value):
        return MISSING
    text = f"{cell.estimate.value * scale(column):.1f}" + ("" if cell.whole else "*")
    return f"{text} {UNRELIABLE}" if cell.unreliable else text


def interval_text(estimate: Estimate | None, column: BenchmarkColumn) -> str:
    """The 95% interval on the same scale; empty where there is none."""
    if estimate is None or math.isnan(estimate.low):
        return ""
    return f"{estimate.low * scale(column):.1f}–{estimate.high * scale(column):.1f}"


def difference_text(found: Difference | None, factor: float) -> str:
    """The difference with its sign; ``*`` marks one that is unlikely to be noise."""
    if found is None:
        return ""
    return f"{found.value * factor:+.1f}" + ("*" if found.significant else "")


def mean_text(value: float | None) -> str:
    """A category mean out of 100, or ``partial`` where a benchmark is missing or incomplete."""
    return PARTIAL if value is None else f"{100 * value:.1f}"


def scale(column: BenchmarkColumn) -> float:
    """The factor of printed scores: 100 for fractions, else 1."""
    return 100.0 if column.limits == (0.0, 1.0) else 1.0


def legend(comparison: Comparison) -> list[str]:
    """The notes below a table: metrics, sizes and statistics, then the footnotes of single cells."""
    metrics = ", ".join(f"{column.task} {column.metric}" for column in comparison.columns)
    sizes = ", ".join(f"{column.task} {_size(comparison, column.task)}" for column in comparison.columns)
    found = [f"metric: {metrics}", f"n: {sizes}; ranges are 95% intervals", *_recipes(comparison)]
    if comparison.baseline is not None:
        found += _about_differences(comparison)
    return [*found, *comparison.footnotes()]


def _recipes(comparison: Comparison) -> list[str]:
    """Under which conditions the arms were asked: one line if all the same, else one for each."""
    recipes = {arm.name: arm.recipe for arm in comparison.arms}
    if len(set(recipes.values())) == 1:
        return [f"recipe: {next(iter(recipes.values()))}"]
    return [f"{name}: recipe {recipe}" for name, recipe in recipes.items()]


def _about_differences(comparison: Comparison) -> list[str]:
    how = {"holm": "Holm's correction", "bh": "Benjamini and Hochberg's correction"}
    corrected = how.get(comparison.correction, "no correction")
    seen = [
        f"{column.task} {max(found) * scale(column):.1f}"
        for column in comparison.columns
        if (
            found := [
                each[column.task].detectable
                for each in comparison.differences.values()
                if column.task in each
            ]
        )
    ]
    return [
        f"differences are to {comparison.baseline}, paired by sample; * p < 0.05 after {corrected} over "
        "the benchmarks (McNemar, or a t test clustered by image and video)",
        f"smallest difference that 80% of such comparisons would find: {', '.join(seen) or 'none known'}",
    ]


def _benchmark(comparison: Comparison, column: BenchmarkColumn) -> TableRow:
    cells = [comparison.cells[arm.name].get(column.task) for arm in comparison.arms]
    entries = _entries(
        column,
        [cell.estimate if cell else None for cell in cells],
        [score_text(cell, column) for cell in cells],
        [comparison.differences.get(arm.name, {}).get(column.task) for arm in comparison.arms],
    )
    row = column.row or column.task
    alone = len(tasks_by_row(comparison.columns)[row]) == 1
    return TableRow(
        column.category, column.task, _with_published(comparison, entries, row if alone else None)
    )


def _label(comparison: Comparison, column: BenchmarkColumn, group: str, label: str) -> TableRow:
    cells = [comparison.cells[arm.name].get(column.task) for arm in comparison.arms]
    estimates = [cell.breakdown.get(group, {}).get(label) if cell else None for cell in cells]
    entries = _entries(
        column,
        estimates,
        [
            MISSING if each is None or math.isnan(each.value) else f"{each.value * scale(column):.1f}"
            for each in estimates
        ],
        [comparison.parts.get(arm.name, {}).get((column.task, group, label)) for arm in comparison.arms],
    )
    count = max((each.n for each in estimates if each), default=0)
    return TableRow(column.task, f"{label} (n = {count})", _with_published(comparison, entries, None))


def _entries(
    column: BenchmarkColumn,
    estimates: Sequence[Estimate | None],
    scores: Sequence[str],
    differences: Sequence[Difference | None],
) -> list[TableCell]:
    """The cells of a row, one for each arm."""
    ranks = ranks_of([each.value if each else math.nan for each in estimates])
    return [
        TableCell(
            score,
            interval_text(estimate, column),
            difference_text(found, scale(column)),
            rank,
            found is not None and found.significant,
        )
        for estimate, score, found, rank in zip(estimates, scores, differences, ranks, strict=True)
    ]


def _mean(comparison: Comparison, category: str, label: str, name: str, tasks: Sequence[str]) -> TableRow:
    values = [comparison.means(arm.name).get(name) for arm in comparison.arms]
    ranks = ranks_of([math.nan if value is None else value for value in values])
    entries = []
    for arm, value, rank in zip(comparison.arms, values, ranks, strict=True):
        found = comparison.mean_differences.get(arm.name, {}).get(name)
        difference = f"{100 * found[0]:+.1f}" if found else ""
        significant = found is not None and not found[1] <= 0 <= found[2]
        entries.append(
            TableCell(mean_text(value), "", difference + ("*" if significant else ""), rank, significant)
        )
    return TableRow(category, label, _with_published(comparison, entries, name), mean=True)


def _with_published(
    comparison: Comparison, entries: Sequence[TableCell], row: str | None
) -> tuple[TableCell, ...]:
    """The arms' cells with those of published columns between; ``row`` is that of the published table."""
    own = iter(entries)
    return tuple(
        TableCell(_published_text(each, row)) if isinstance(each, Published) else next(own)
        for each in comparison.shown()
    )


def _published_text(column: Published, row: str | None) -> str:
    """A published score or mean with the decimals of print; ``†`` marks another or unstated protocol."""
    if row is None:
        return MISSING
    if row in column.values:
        return f"{column.values[row]:.2f}" + ("†" if row in column.marked else "")
    value = column.means.get(row)
    return MISSING if value is None else f"{100 * value:.2f}"


def ranks_of(values: Sequence[float]) -> list[int]:
    """1 for the highest score, 2 for the next lower one, else 0 (also for NaN); equal ones alike, and
    none has a rank if all are equal.
    """
    known = sorted({value for value in values if not math.isnan(value)}, reverse=True)
    if len(known) < 2:
        return [0] * len(values) if len(values) > 1 else [BEST if known else 0]
    return [
        (known.index(value) + 1) if not math.isnan(value) and known.index(value) < 2 else 0
        for value in values
    ]


def _size(comparison: Comparison, task: str) -> int:
    found = (cells[task].expected for cells in comparison.cells.values() if task in cells)
    return max(found, default=0)
