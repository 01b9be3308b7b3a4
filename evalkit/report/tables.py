"""A comparison as a table for the terminal, in Markdown, LaTeX, HTML and CSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evalkit.core.console import inline
from evalkit.core.escapes import csv_table, tex
from evalkit.core.escapes import markdown as md
from evalkit.report.comparison import Comparison
from evalkit.report.grid import BEST, SECOND, TableCell, TableRow, breakdown_rows, legend, table_rows
from evalkit.report.html import render

if TYPE_CHECKING:
    from rich.console import RenderableType


def terminal(comparison: Comparison, width: int, breakdown: bool = False) -> RenderableType:
    """The table for rich: the best score of a row in bold, the second underlined.

    Columns that don't fit into ``width`` characters go into further tables below, with the benchmarks again.
    """
    from rich.console import Group
    from rich.text import Text

    names = [each.name for each in comparison.shown()]
    parts = _pages(names, table_rows(comparison), width, "")
    if breakdown:
        for title, found in breakdown_rows(comparison):
            parts += _pages(names, found, width, title)
    notes = Text("\n".join(map(inline, legend(comparison))), style="dim")
    return Group(*(each for part in parts for each in (part, Text(""))), notes)


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
    if entry.interval:
        text.append(f" {entry.interval}", style="dim")
    if entry.difference:
        text.append(f" {entry.difference}", style="bold" if entry.significant else "dim")
    return text


def _plain(entry: TableCell) -> str:
    return " ".join(part for part in (entry.score, entry.interval, entry.difference) if part)


def markdown(comparison: Comparison, breakdown: bool = False) -> str:
    """GitHub tables; the best score of a row in bold, the second underlined."""
    names = [each.name for each in comparison.shown()]
    parts = [_markdown(names, table_rows(comparison))]
    if breakdown:
        parts += [
            f"**{md(title)}**\n\n{_markdown(names, found)}" for title, found in breakdown_rows(comparison)
        ]
    notes = "\n".join(f"- {md(note)}" for note in legend(comparison))
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
    return score + rest + (f" {entry.difference}" if entry.difference else "")


def latex(comparison: Comparison) -> str:
    r"""A ``booktabs`` table to paste: best in bold, second underlined, differences as subscripts.

    It needs ``\usepackage{booktabs}`` and nothing else.
    """
    names = [tex(each.name) for each in comparison.shown()]
    rows = [
        rf"\begin{{tabular}}{{ll{'r' * len(names)}}}",
        r"\toprule",
        " & ".join(["Type", "Benchmark", *names]) + r" \\",
    ]
    category = None
    for line in table_rows(comparison):
        if line.category != category:
            rows.append(r"\midrule")
        shown = line.category.capitalize() if line.category != category else ""
        category = line.category
        label = rf"\textit{{{tex(line.label)}}}" if line.mean else tex(line.label)
        rows.append(" & ".join([shown, label, *map(_tex_entry, line.entries)]) + r" \\")
    rows += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*(f"% {inline(note)}" for note in legend(comparison)), *rows])


def _tex_entry(entry: TableCell) -> str:
    score = tex(entry.score)
    score = {BEST: rf"\textbf{{{score}}}", SECOND: rf"\underline{{{score}}}"}.get(entry.rank, score)
    return score + (f"$_{{{entry.difference}}}$" if entry.difference else "")


def html(comparison: Comparison, breakdown: bool = False) -> str:
    """Tables as an HTML fragment; the best score of a row in bold, the second underlined."""
    return render(
        "tables.html",
        names=[each.name for each in comparison.shown()],
        tables=[("", table_rows(comparison)), *(breakdown_rows(comparison) if breakdown else ())],
        notes=legend(comparison),
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
                "model": arm.model,
                "rope": arm.rope,
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
