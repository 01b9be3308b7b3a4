"""A comparison as a table for the terminal, in Markdown, HTML and CSV; :mod:`evalkit.report.latex` is in
LaTeX.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evalkit.core.console import inline
from evalkit.core.escapes import csv_table
from evalkit.core.escapes import markdown as md
from evalkit.report.comparison import Comparison
from evalkit.report.grid import BEST, SECOND, UNRELIABLE, TableCell, TableRow, breakdown_rows, table_rows
from evalkit.report.html import render
from evalkit.report.layout import DEFAULT, Layout, arranged, heads
from evalkit.report.notes import caption, legend, rates_table

if TYPE_CHECKING:
    from rich.console import RenderableType


def terminal(
    comparison: Comparison, width: int, breakdown: bool = False, layout: Layout = DEFAULT
) -> RenderableType:
    """The table for rich: the best score of a row in bold, the second underlined.

    Columns that don't fit into ``width`` characters go into further tables below, with the benchmarks again.
    """
    from rich.console import Group
    from rich.text import Text

    comparison = arranged(comparison, layout)
    names = heads(comparison)
    rows = table_rows(comparison, layout)
    parts: list[RenderableType] = []
    if layout.paper:
        parts.append(Text(inline(caption(comparison, rows))))
        # There is no column of categories here.
        rows = [replace(row, label=f"Overall {row.label}") if row.mean else row for row in rows]
    parts += _pages(names, rows, width, "")
    if breakdown:
        for title, found in breakdown_rows(comparison, layout):
            parts += _pages(names, found, width, title)
    top, rates = rates_table(comparison, layout)
    if rates:
        parts.append(_plain_table(top, rates))
    notes = Text("\n".join(map(inline, legend(comparison, layout))), style="dim")
    return Group(*(each for part in parts for each in (part, Text(""))), notes)


def _plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(inline(cell)) for cell in row))
    return table


def _pages(names: Sequence[str], found: Sequence[TableRow], width: int, title: str) -> list[RenderableType]:
    """As many tables as the width requires, each of at least one arm."""
    from rich.cells import cell_len
    from rich.text import Text

    names, title = [inline(name) for name in names], inline(title)
    found = [replace(line, label=inline(line.label)) for line in found]
    room = width - max((cell_len(line.label) for line in found), default=0) - 3
    pages: list[list[int]] = []
    left = 0
    for place, name in enumerate(names):
        needed = max([cell_len(name), *(cell_len(_plain(line.entries[place])) for line in found)]) + 3
        if not pages or needed > left:
            pages.append([])
            left = room
        pages[-1].append(place)
        left -= needed
    heading: list[RenderableType] = [Text(title, style="bold")] if title else []
    return [*heading, *(_page(names, found, page) for page in pages)]


def _page(names: Sequence[str], found: Sequence[TableRow], places: Sequence[int]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("benchmark", overflow="fold")
    for place in places:
        table.add_column(Text(names[place]), justify="right", overflow="fold")
    category = None
    for line in found:
        if line.category != category and category is not None:
            table.add_section()
        category = line.category
        table.add_row(
            Text(line.label, style="italic" if line.mean else ""),
            *(_rich(line.entries[place]) for place in places),
        )
    return table


def _rich(entry: TableCell) -> RenderableType:
    from rich.text import Text

    styles = {BEST: "bold", SECOND: "underline"}
    text = Text()
    text.append(entry.score, style=styles.get(entry.rank, ""))
    if entry.spread:
        text.append(entry.spread, style="dim")
    if entry.interval:
        text.append(f" {entry.interval}", style="dim")
    if entry.difference:
        text.append(f" {entry.difference}", style="bold" if entry.significant else "dim")
    for mark in entry.marks:
        text.append(f" {mark}", style="red" if mark == UNRELIABLE else "dim")
    return text


def _plain(entry: TableCell) -> str:
    shown = (f"{entry.score}{entry.spread}", entry.interval, entry.difference, *entry.marks)
    return " ".join(part for part in shown if part)


def markdown(comparison: Comparison, breakdown: bool = False, layout: Layout = DEFAULT) -> str:
    """GitHub tables; the best score of a row in bold, the second underlined."""
    comparison = arranged(comparison, layout)
    names = heads(comparison)
    rows = table_rows(comparison, layout)
    parts = [md(caption(comparison, rows))] if layout.paper else []
    parts.append(_markdown(names, rows))
    if breakdown:
        parts += [
            f"**{md(title)}**\n\n{_markdown(names, found)}"
            for title, found in breakdown_rows(comparison, layout)
        ]
    top, rates = rates_table(comparison, layout)
    if rates:
        lines = [_bar(map(md, top)), "|---" * len(top) + "|", *(_bar(map(md, row)) for row in rates)]
        parts.append("\n".join(lines))
    notes = "\n".join(f"- {md(note)}" for note in legend(comparison, layout))
    return "\n\n".join([*parts, notes])


def _markdown(names: Sequence[str], found: Sequence[TableRow]) -> str:
    rows = [_bar(["benchmark", *map(md, names)]), "|---|" + "---:|" * len(names)]
    for line in found:
        label = md(f"{line.category}: {line.label}")
        rows.append(_bar([f"*{label}*" if line.mean else label, *map(_marked, line.entries)]))
    return "\n".join(rows)


def _bar(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _marked(entry: TableCell) -> str:
    score = {BEST: f"**{entry.score}**", SECOND: f"<ins>{entry.score}</ins>"}.get(entry.rank, entry.score)
    rest = f" ({entry.interval})" if entry.interval else ""
    marks = "".join(f" {mark}" for mark in entry.marks)
    return score + entry.spread + rest + (f" {entry.difference}" if entry.difference else "") + marks


def html(comparison: Comparison, breakdown: bool = False, layout: Layout = DEFAULT) -> str:
    """Tables as an HTML fragment; the best score of a row in bold, the second underlined."""
    comparison = arranged(comparison, layout)
    rows = table_rows(comparison, layout)
    return render(
        "tables.html",
        names=heads(comparison),
        caption=caption(comparison, rows) if layout.paper else "",
        tables=[("", rows), *(breakdown_rows(comparison, layout) if breakdown else ())],
        rates=rates_table(comparison, layout),
        notes=legend(comparison, layout),
        best=BEST,
        second=SECOND,
    )


def csv(comparison: Comparison) -> str:
    """Tidy rows at full precision: one for each arm and benchmark, and each label of its breakdowns."""
    import pandas as pd

    rows: list[dict[str, object]] = []
    for arm in comparison.arms:
        for column in comparison.columns:
            cell = comparison.cells[arm.name].get(column.task)
            if cell is None:
                continue
            start = {
                "arm": arm.name,
                "system": arm.system or arm.name,
                "model": arm.model,
                "rope": arm.rope,
                **({"trained_with": arm.trained_with} if arm.trained_with else {}),
                "recipe": arm.recipe,
                "category": column.category,
                "task": column.task,
                "metric": column.metric,
            }
            counts = {rate.replace(" ", "_"): count for rate, count in cell.counts.items()}
            whole = vars(cell.estimate) | {"expected": cell.expected} | counts
            whole["unreliable"] = "; ".join(cell.unreliable)
            whole |= {"answers_each": cell.repetitions, **cell.repeated}
            rows.append(
                start | {"group": "", "label": ""} | whole | _compared(comparison, arm.name, column.task)
            )
            for group, labels in cell.breakdown.items():
                for label, found in labels.items():
                    compared = _compared(comparison, arm.name, column.task, group, label)
                    rows.append(start | {"group": group, "label": label} | vars(found) | compared)
    rows += [
        {"arm": each.name, "model": each.source, "rope": each.rope, "category": category, "task": row}
        | {"metric": "as published", "group": "", "label": "", "value": round(each.values[row] / 100, 6)}
        for each in comparison.published
        for row, category in {each.row or each.task: each.category for each in comparison.columns}.items()
        if row in each.values
    ]
    # As objects, since a column with gaps would turn its counts into 4.0.
    return csv_table(pd.DataFrame(rows, dtype=object))


def _compared(
    comparison: Comparison, arm: str, task: str, group: str = "", label: str = ""
) -> dict[str, object]:
    if group:
        found = comparison.parts.get(arm, {}).get((task, group, label))
    else:
        found = comparison.differences.get(arm, {}).get(task)
    if found is None:
        return {}
    return {
        "baseline": comparison.baseline,
        "difference": found.value,
        "difference_low": found.low,
        "difference_high": found.high,
        "p": found.p,
        "p_corrected": found.corrected,
        "test": found.test,
        "detectable": found.detectable,
        "discordant": found.discordant,
    }
