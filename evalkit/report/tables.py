"""A comparison drawn for the terminal, Markdown and CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evalkit.report.aggregate import CATEGORIES, Cell, Column, rows_of
from evalkit.report.comparison import Comparison, Published

if TYPE_CHECKING:
    from rich.console import RenderableType

# Columns from left to right: (heading, sub-heading, benchmark or name of a mean).
Layout = list[tuple[str, str, Column | str]]

MISSING = "–"
PARTIAL = "partial"


def score_text(cell: Cell | None, column: Column) -> str:
    """A score as the paper prints it: out of 100 where the metric is a fraction.

    A trailing ``*`` says that some samples have no score.
    """
    if cell is None or math.isnan(cell.estimate.value):
        return MISSING
    return f"{cell.estimate.value * scale(column):.1f}" + ("" if cell.whole else "*")


def interval_text(cell: Cell | None, column: Column) -> str:
    """The 95% interval on the same scale; empty where there is none."""
    if cell is None or math.isnan(cell.estimate.low):
        return ""
    return f"{cell.estimate.low * scale(column):.1f}–{cell.estimate.high * scale(column):.1f}"


def mean_text(value: float | None) -> str:
    """A category mean out of 100, or ``partial`` where a benchmark is missing or incomplete."""
    return PARTIAL if value is None else f"{100 * value:.1f}"


def published_text(row: Published, source: Column | str, columns: Sequence[Column]) -> str:
    """A published score as printed, or its mean; ``†`` marks another or an unstated protocol.

    A score that is the mean of several columns stands below their mean.
    """
    name = source if isinstance(source, str) else source.row or source.task
    if isinstance(source, str) and name not in row.values:
        value = row.means.get(name)
        return MISSING if value is None else f"{100 * value:.2f}"
    alone = isinstance(source, str) or len(rows_of(columns)[name]) == 1
    if name not in row.values or not alone:
        return MISSING
    return f"{row.values[name]:.2f}" + ("†" if name in row.marked else "")


def terminal(comparison: Comparison, width: int = 1000) -> RenderableType:
    """The table as rich draws it: best score of a column in bold, intervals below the scores.

    A table wider than ``width`` characters goes on below, the variants named again.
    """
    from rich.console import Group
    from rich.text import Text

    notes = Text("\n".join([*_legend(comparison), *comparison.footnotes()]), style="dim")
    names = max((len(arm.name) + 2 for arm in comparison.rows()), default=0)
    parts = [_part(comparison, page) for page in _pages(_layout(comparison), width - names - 3)]
    return Group(*(each for part in parts for each in (part, Text(""))), notes)


def _part(comparison: Comparison, layout: Layout) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("variant", no_wrap=True)
    for heading, sub, _ in layout:
        table.add_column(f"{heading}\n{sub}", justify="right", no_wrap=True)
    for arm in comparison.rows():
        if isinstance(arm, Published):
            shown = [published_text(arm, source, comparison.columns) for _, _, source in layout]
            table.add_row(Text(f"  {arm.name}"), *map(Text, shown), style="cyan")
            continue
        means = comparison.means(arm.name)
        row: list[Text] = []
        for _, _, source in layout:
            if isinstance(source, str):
                row.append(Text(mean_text(means.get(source)), style="italic"))
                continue
            cell = comparison.cells[arm.name].get(source.task)
            best = cell is not None and cell.estimate.value == comparison.best(source.task)
            text = Text(score_text(cell, source), style="bold" if best else "")
            text.append(f"\n{interval_text(cell, source)}", style="not bold dim")
            row.append(text)
        table.add_row(Text(arm.name), *row)
    return table


def _pages(layout: Layout, room: int) -> list[Layout]:
    """Columns that fit side by side into ``room`` characters, at least one a page."""
    pages: list[Layout] = []
    left = 0
    for column in layout:
        needed = max(len(column[0]), len(column[1]), len("100.0–100.0")) + 3
        if not pages or needed > left:
            pages.append([])
            left = room
        pages[-1].append(column)
        left -= needed
    return pages


def markdown(comparison: Comparison) -> str:
    """A GitHub table; the best score of a column in bold."""
    layout = _layout(comparison)
    lines = [
        "| variant | " + " | ".join(f"{heading}: {sub}" for heading, sub, _ in layout) + " |",
        "|---|" + "---:|" * len(layout),
    ]
    for arm in comparison.rows():
        if isinstance(arm, Published):
            shown = [published_text(arm, source, comparison.columns) for _, _, source in layout]
            lines.append(f"| *{arm.name}* | " + " | ".join(shown) + " |")
            continue
        means = comparison.means(arm.name)
        row = []
        for _, _, source in layout:
            if isinstance(source, str):
                row.append(mean_text(means.get(source)))
                continue
            cell = comparison.cells[arm.name].get(source.task)
            text = score_text(cell, source)
            if cell is not None and cell.estimate.value == comparison.best(source.task):
                text = f"**{text}**"
            spread = interval_text(cell, source)
            row.append(f"{text} ({spread})" if spread else text)
        name = arm.name.replace("|", "\\|")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    notes = [*_legend(comparison), *comparison.footnotes()]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)])


def csv(comparison: Comparison) -> str:
    """Tidy rows at full precision: one per arm, benchmark, figure and label of a breakdown."""
    import pandas as pd

    rows: list[dict[str, object]] = []
    for arm in comparison.arms:
        for column in comparison.columns:
            cell = comparison.cells[arm.name].get(column.task)
            if cell is None:
                continue
            start = {
                "arm": arm.name,
                "model": arm.model,
                "rope": arm.rope,
                "category": column.category,
                "task": column.task,
                "metric": column.metric,
            }
            counts = {rate.replace(" ", "_"): count for rate, count in cell.counts.items()}
            whole = vars(cell.estimate) | {"expected": cell.expected} | counts
            rows.append(start | {"group": "", "label": ""} | whole)
            for group, labels in cell.breakdown.items():
                rows.extend(
                    start | {"group": group, "label": label} | vars(found) for label, found in labels.items()
                )
    rows += [
        {"arm": each.name, "model": each.source, "rope": each.rope, "category": category, "task": row}
        | {"metric": "as published", "group": "", "label": "", "value": round(each.values[row] / 100, 6)}
        for each in comparison.published
        for row, category in {each.row or each.task: each.category for each in comparison.columns}.items()
        if row in each.values
    ]
    # As objects, since a column with gaps would turn its counts into 4.0.
    return str(pd.DataFrame(rows, dtype=object).to_csv(index=False))


def _layout(comparison: Comparison) -> Layout:
    """The benchmarks of each category, then their mean where there are several, then the mean of all."""
    found: Layout = []
    for category in CATEGORIES:
        columns = [column for column in comparison.columns if column.category == category]
        rows = rows_of(columns)
        for row, tasks in rows.items():
            found.extend((category, column.task, column) for column in columns if column.task in tasks)
            if len(tasks) > 1:
                found.append((category, row, row))
        if len(rows) > 1:
            found.append((category, f"mean of {len(rows)}", category))
    if len({column.category for column in comparison.columns}) > 1:
        found.append(("overall", "mean", "overall"))
    return found


def _legend(comparison: Comparison) -> list[str]:
    metrics = ", ".join(f"{column.task} {column.metric}" for column in comparison.columns)
    sizes = ", ".join(f"{column.task} {_size(comparison, column.task)}" for column in comparison.columns)
    return [f"metric: {metrics}", f"n: {sizes}; ranges are 95% intervals"]


def _size(comparison: Comparison, task: str) -> int:
    found = (cells[task].expected for cells in comparison.cells.values() if task in cells)
    return max(found, default=0)


def scale(column: Column) -> float:
    """What a score is multiplied by to print it: fractions are shown out of 100."""
    return 100.0 if column.limits == (0.0, 1.0) else 1.0
