"""A comparison as the paper prints it: rows are benchmarks by category, columns are variants.

Every format (terminal, Markdown, LaTeX, HTML) is drawn from these rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalkit.report.aggregate import BenchmarkColumn, Cell, Estimate, tasks_by_row
from evalkit.report.comparison import Comparison, Published
from evalkit.report.layout import DEFAULT, Layout, RowPlan, planned_rows
from evalkit.report.paired import Difference

MISSING = "–"
PARTIAL = "partial"
UNRELIABLE = "UNRELIABLE"
BEST, SECOND = 1, 2


@dataclass(frozen=True)
class TableCell:
    """One score as text, with its interval and its difference to the baseline (empty where there is none);
    ``rank`` is 1 for the best of its row, 2 for the second, else 0. ``value`` is the printed number,
    ``spread`` the deviation between training seeds, ``marks`` what a reader must see beside it: another n
    than the rest of the row has, and ``UNRELIABLE``, for the reasons in ``why``.
    """

    score: str
    interval: str = ""
    difference: str = ""
    rank: int = 0
    significant: bool = False
    value: float | None = None
    spread: str = ""
    marks: tuple[str, ...] = ()
    why: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The score with its spread and marks."""
        return " ".join((f"{self.score}{self.spread}", *self.marks))


@dataclass(frozen=True)
class TableRow:
    """One row: a benchmark, a row of the paper that several benchmarks share, or a mean."""

    category: str
    label: str
    entries: tuple[TableCell, ...]
    mean: bool = False


def table_rows(comparison: Comparison, layout: Layout = DEFAULT) -> list[TableRow]:
    """The rows of a layout; by default the benchmarks of each category, then their mean where there are
    several, then the mean of all.
    """
    columns = {column.task: column for column in comparison.columns}
    means = [comparison.means(arm.name) for arm in comparison.arms]
    unreliable = [comparison.unreliable_means(arm.name) for arm in comparison.arms]
    found = []
    for plan in planned_rows(comparison, layout):
        if plan.mean is None:
            found.append(_benchmark(comparison, plan, columns[plan.tasks[0]], layout))
            continue
        values = [each.get(plan.mean) for each in means]
        bad = [plan.mean in each for each in unreliable]
        entries = _mean_entries(comparison, plan.mean, values, bad, layout)
        mean = not layout.paper or plan.category == "overall"
        shown = _with_published(comparison, entries, plan.mean)
        found.append(TableRow(plan.category, plan.label, shown, mean))
    return found


def breakdown_rows(comparison: Comparison, layout: Layout = DEFAULT) -> Iterator[tuple[str, list[TableRow]]]:
    """The name of every breakdown of every benchmark, and a row for each of its labels."""
    for column in comparison.columns:
        cells = [cells[column.task] for cells in comparison.cells.values() if column.task in cells]
        for group in dict.fromkeys(group for cell in cells for group in cell.breakdown):
            labels = dict.fromkeys(label for cell in cells for label in cell.breakdown.get(group, {}))
            name = column.title if layout.paper else column.task
            rows = [_label(comparison, column, group, label, layout) for label in labels]
            yield f"{name} by {group}", rows


def score_text(cell: Cell | None, column: BenchmarkColumn, layout: Layout = DEFAULT) -> str:
    """A score as the paper prints it: out of 100 where the metric is a fraction. A trailing ``*`` says that
    some samples have no score.
    """
    if cell is None or math.isnan(cell.estimate.value):
        return MISSING
    return f"{cell.estimate.value * scale(column):.{layout.digits}f}" + ("" if cell.whole else "*")


def interval_text(estimate: Estimate | None, column: BenchmarkColumn, layout: Layout = DEFAULT) -> str:
    """The 95% interval on the same scale; empty where there is none."""
    if estimate is None or math.isnan(estimate.low) or not layout.intervals:
        return ""
    low, high = (f"{bound * scale(column):.{layout.digits}f}" for bound in (estimate.low, estimate.high))
    return f"{low}–{high}"


def difference_text(found: Difference | None, factor: float, layout: Layout = DEFAULT) -> str:
    """The difference with its sign; ``*`` marks one that is unlikely to be noise."""
    if found is None:
        return ""
    return f"{found.value * factor:+.{layout.digits}f}" + ("*" if found.significant else "")


def scale(column: BenchmarkColumn) -> float:
    """The factor of printed scores: 100 for fractions, else 1."""
    return 100.0 if column.limits == (0.0, 1.0) else 1.0


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


def _benchmark(comparison: Comparison, plan: RowPlan, column: BenchmarkColumn, layout: Layout) -> TableRow:
    cells = [comparison.cells[arm.name].get(column.task) for arm in comparison.arms]
    entries = _entries(
        column,
        [cell.estimate if cell else None for cell in cells],
        [score_text(cell, column, layout) for cell in cells],
        [comparison.differences.get(arm.name, {}).get(column.task) for arm in comparison.arms],
        [cell.unreliable if cell else () for cell in cells],
        layout,
    )
    row = column.row or column.task
    alone = len(tasks_by_row(comparison.columns)[row]) == 1
    shown = _with_published(comparison, entries, row if alone else None)
    return TableRow(plan.category, plan.label, shown)


def _label(
    comparison: Comparison, column: BenchmarkColumn, group: str, label: str, layout: Layout
) -> TableRow:
    cells = [comparison.cells[arm.name].get(column.task) for arm in comparison.arms]
    estimates = [cell.breakdown.get(group, {}).get(label) if cell else None for cell in cells]
    entries = _entries(
        column,
        estimates,
        [
            MISSING
            if each is None or math.isnan(each.value)
            else f"{each.value * scale(column):.{layout.digits}f}"
            for each in estimates
        ],
        [comparison.parts.get(arm.name, {}).get((column.task, group, label)) for arm in comparison.arms],
        [cell.unreliable if cell else () for cell in cells],
        layout,
    )
    count = max((each.n for each in estimates if each), default=0)
    return TableRow(column.task, f"{label} (n = {count})", _with_published(comparison, entries, None))


def _entries(
    column: BenchmarkColumn,
    estimates: Sequence[Estimate | None],
    scores: Sequence[str],
    differences: Sequence[Difference | None],
    unreliable: Sequence[Sequence[str]],
    layout: Layout,
) -> list[TableCell]:
    """The cells of a row, one for each arm. A score that is over other samples than the rest says over how
    many; an unreliable one, for the reasons in ``unreliable``, has no rank.
    """
    values = [each.value if each else math.nan for each in estimates]
    ranks = ranks_of([math.nan if bad else value for value, bad in zip(values, unreliable, strict=True)])
    counts = {each.n for each in estimates if each and not math.isnan(each.value)}
    found = []
    for place, estimate in enumerate(estimates):
        known = estimate is not None and not math.isnan(estimate.value)
        if estimate is None or not known:
            found.append(TableCell(scores[place]))
            continue
        marks = [f"(n = {estimate.n})"] if len(counts) > 1 else []
        marks += [UNRELIABLE] if unreliable[place] else []
        difference = differences[place]
        found.append(
            TableCell(
                score=scores[place],
                interval=interval_text(estimate, column, layout),
                difference=difference_text(difference, scale(column), layout),
                rank=ranks[place],
                significant=difference is not None and difference.significant,
                value=estimate.value * scale(column),
                spread=_spread_text(estimate.spread, scale(column), layout),
                marks=tuple(marks),
                why=tuple(unreliable[place]),
            )
        )
    return found


def _spread_text(spread: float, factor: float, layout: Layout) -> str:
    return "" if math.isnan(spread) else f"±{spread * factor:.{layout.digits}f}"


def _mean_entries(
    comparison: Comparison,
    name: str,
    values: Sequence[float | None],
    unreliable: Sequence[bool],
    layout: Layout,
) -> list[TableCell]:
    """The cells of a mean's row, one for each arm."""
    known = [
        math.nan if value is None or bad else value for value, bad in zip(values, unreliable, strict=True)
    ]
    entries = []
    for arm, value, bad, rank in zip(comparison.arms, values, unreliable, ranks_of(known), strict=True):
        if value is None:
            entries.append(TableCell(PARTIAL))
            continue
        found = comparison.mean_differences.get(arm.name, {}).get(name)
        significant = found is not None and not found[1] <= 0 <= found[2]
        spread = comparison.mean_spreads.get(arm.name, {}).get(name, math.nan)
        entries.append(
            TableCell(
                score=f"{100 * value:.{layout.digits}f}",
                difference=f"{100 * found[0]:+.{layout.digits}f}{'*' if significant else ''}"
                if found
                else "",
                rank=rank,
                significant=significant,
                value=100 * value,
                spread=_spread_text(spread, 100, layout),
                marks=(UNRELIABLE,) if bad else (),
            )
        )
    return entries


def _with_published(
    comparison: Comparison, entries: Sequence[TableCell], row: str | None
) -> tuple[TableCell, ...]:
    """The arms' cells with those of published columns between; ``row`` is that of the published table."""
    own = iter(entries)
    return tuple(
        _published(each, row) if isinstance(each, Published) else next(own) for each in comparison.shown()
    )


def _published(column: Published, row: str | None) -> TableCell:
    """A published score or mean with the decimals of print; ``†`` marks another or unstated protocol."""
    if row is None:
        return TableCell(MISSING)
    if row in column.values:
        value = column.values[row]
        return TableCell(f"{value:.2f}" + ("†" if row in column.marked else ""), value=value)
    mean = column.means.get(row)
    return TableCell(MISSING) if mean is None else TableCell(f"{100 * mean:.2f}", value=100 * mean)
