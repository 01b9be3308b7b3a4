"""A benchmark's categories, one table each: rows are labels, columns are arms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalkit.report.aggregate import Column, Estimate
from evalkit.report.comparison import Comparison
from evalkit.report.tables import MISSING, scale

if TYPE_CHECKING:
    from rich.console import RenderableType


def breakdowns(comparison: Comparison) -> RenderableType:
    """Every group of every benchmark, with n and 95% intervals, for the terminal."""
    from rich.console import Group
    from rich.table import Table

    tables = []
    for column in comparison.columns:
        for group in _groups(comparison, column.task):
            title = f"{column.task} by {group}"
            table = Table(title=title, title_justify="left", show_edge=False, header_style="bold")
            table.add_column(group, no_wrap=True)
            table.add_column("n", justify="right")
            for arm in comparison.arms:
                table.add_column(arm.name, justify="right", no_wrap=True)
            for label in _labels(comparison, column.task, group):
                found = [
                    _estimate(comparison, arm.name, column.task, group, label) for arm in comparison.arms
                ]
                count = max((each.n for each in found if each), default=0)
                table.add_row(label, str(count), *(_text(each, column) for each in found))
            tables.append(table)
    return Group(*(part for table in tables for part in (table, "")))


def _groups(comparison: Comparison, task: str) -> list[str]:
    cells = [cells[task] for cells in comparison.cells.values() if task in cells]
    return list(dict.fromkeys(group for cell in cells for group in cell.breakdown))


def _labels(comparison: Comparison, task: str, group: str) -> list[str]:
    cells = [cells[task] for cells in comparison.cells.values() if task in cells]
    return list(dict.fromkeys(label for cell in cells for label in cell.breakdown.get(group, {})))


def _estimate(comparison: Comparison, arm: str, task: str, group: str, label: str) -> Estimate | None:
    cell = comparison.cells[arm].get(task)
    return cell.breakdown.get(group, {}).get(label) if cell else None


def _text(estimate: Estimate | None, column: Column) -> str:
    if estimate is None:
        return MISSING
    value, low, high = (
        f"{each * scale(column):.1f}" for each in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low}–{high})"
