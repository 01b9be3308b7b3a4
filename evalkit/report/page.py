"""Self-contained HTML pages: of finished runs (table, plots, every answer side by side), or of one table.

A page needs no network: its data, style and script are in it. What models wrote is in it as JSON, which the
script shows as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from operator import attrgetter
from typing import Any

from evalkit.core.strict_json import finite_json
from evalkit.report import plots
from evalkit.report.ability import Ability, ability
from evalkit.report.about import RunAbout, SystemAbout
from evalkit.report.aggregate import RATES
from evalkit.report.comparison import Comparison
from evalkit.report.differences import RecordsByTask
from evalkit.report.grid import TableRow, table_rows
from evalkit.report.html import render
from evalkit.report.notes import legend
from evalkit.report.samples import PageSamples, Thumbnails
from evalkit.report.steps import counted
from evalkit.store.records_table import ScoreRow, score_rows

_STYLES = ("report.css",)
_SCRIPTS = ("marks.js", "table.js", "plots.js", "report.js")

About = tuple[Sequence[RunAbout], Sequence[SystemAbout]]


def report_page(
    comparison: Comparison,
    records: Mapping[str, RecordsByTask],
    thumbnails: Thumbnails,
    title: str,
    about: About = ((), ()),
) -> str:
    """A page about finished runs.

    ``records`` maps arm and task to scored records, ``thumbnails`` (task, sample id) to ``data:`` URLs;
    ``about`` has the runs and systems of the header (:func:`evalkit.report.about.about_runs`).
    """
    abilities = [plots.ability_panel(each, comparison.arms) for each in ability_curves(comparison, records)]
    curves = {"lengths": attrgetter("video_seconds"), "sizes": attrgetter("visual_tokens")}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in curves}
    flags = [Counter[str]() for _ in comparison.arms]
    samples = PageSamples(thumbnails)
    columns = {column.task: column for column in comparison.columns}
    others = dict.fromkeys(task for arm in comparison.arms for task in records[arm.name])
    tasks = [*columns, *(task for task in others if task not in columns)]
    for task in counted(tasks, "writing the samples of benchmark"):
        sides = [records[arm.name].get(task, ()) for arm in comparison.arms]
        light = [score_rows(side) for side in sides]
        for counts, side in zip(flags, light, strict=True):
            counts.update(_flags(side))
        if task in columns:
            for name, measure in curves.items():
                found[name] += plots.measured_curve(columns[task], light, measure)
            samples.add(task, sides, light)
    names = ["samples", *(flag for rate in RATES.values() for flag in rate)]
    data = {
        "heads": ("category", "benchmark"),
        "columns": [each.name for each in comparison.shown()],
        "lines": [_line(line) for line in table_rows(comparison)],
        "arms": [arm.name for arm in comparison.arms],
        "short": plots.short_names(comparison.arms),
        "focus": plots.standing_out(comparison),
        "baseline": comparison.baseline,
        "differences": plots.difference_groups(comparison),
        "breakdowns": list(plots.breakdowns(comparison)),
        "steps": plots.training_steps(comparison),
        "abilities": abilities,
        **found,
        "flags": [{name: counts[name] for name in names} for counts in flags],
        **samples.data(),
    }
    runs, systems = about
    return _page("report.html", title, legend(comparison), data, runs=runs, systems=systems, facts=())


def ability_curves(comparison: Comparison, records: Mapping[str, RecordsByTask]) -> Iterator[Ability]:
    """The curves of the benchmarks with a knob."""
    for column in comparison.columns:
        rows = {arm.name: score_rows(records[arm.name].get(column.task, ())) for arm in comparison.arms}
        found = ability(column, rows)
        if found is not None:
            yield found


def table_page(
    title: str,
    heads: tuple[str, str],
    columns: Sequence[str],
    table: Sequence[TableRow],
    notes: Sequence[str],
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """A page with one table to sort and filter; ``heads`` name what rows are grouped by, and what a row is.
    ``facts`` are names and texts of its header.
    """
    data = {"heads": heads, "columns": list(columns), "lines": [_line(line) for line in table]}
    return _page("page.html", title, notes, data, facts=facts)


def _page(template: str, title: str, notes: Sequence[str], data: Mapping[str, Any], **more: Any) -> str:
    style, script = (_assets(*names) for names in (_STYLES, _SCRIPTS))
    return render(
        template, title=title, notes=notes, style=style, script=script, data=finite_json(data), **more
    )


def _assets(*names: str) -> str:
    folder = files("evalkit.report") / "assets"
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)


def _line(line: TableRow) -> dict[str, Any]:
    return {
        "category": line.category,
        "label": line.label,
        "mean": line.mean,
        "entries": [{**vars(entry), "score": entry.text} for entry in line.entries],
        "values": [entry.value for entry in line.entries],
    }


def _flags(light: Sequence[ScoreRow]) -> Counter[str]:
    """The number of samples, and of those with each flag."""
    found = Counter(flag for each in light for flag in set(each.flags))
    return found + Counter(samples=len(light))
