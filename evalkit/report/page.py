"""Self-contained HTML pages: of finished runs (table, plots, every answer side by side), or of one table.

A page needs no network: its data, style and script are in it. What models wrote is in it as JSON, which the
script shows as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import count
from operator import attrgetter
from typing import Any

from evalkit.core.strict_json import finite_json
from evalkit.report import curves, plots
from evalkit.report.about import RunAbout, SystemAbout
from evalkit.report.aggregate import RATES
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.differences import RecordsByTask
from evalkit.report.grid import TableRow, table_rows
from evalkit.report.html import render
from evalkit.report.notes import legend, percent, rates_table
from evalkit.report.samples import PageSamples, Thumbnails
from evalkit.report.steps import counted
from evalkit.store.records_table import score_rows

_STYLES = ("report.css",)
_SCRIPTS = ("marks.js", "table.js", "plots.js", "report.js")
_CURVES: Mapping[str, curves.Measure] = {
    "lengths": attrgetter("video_seconds"),
    "sizes": attrgetter("visual_tokens"),
}

About = tuple[Sequence[RunAbout], Sequence[SystemAbout]]


def report_page(
    comparison: Comparison,
    records: Mapping[str, RecordsByTask],
    thumbnails: Thumbnails,
    title: str,
    about: About = ((), ()),
    members: plots.Members | None = None,
) -> str:
    """A page about finished runs.

    ``records`` maps checkpoints and tasks to scored records, ``thumbnails`` (task, sample id) to ``data:``
    URLs; ``about`` has the runs and systems of the header (:func:`evalkit.report.about.about_runs`).
    ``members`` are the checkpoints of each arm where training seeds are grouped: tables and plots are of
    arms, samples of checkpoints. Without it every arm is a checkpoint.
    """
    members = members or {arm.name: [arm] for arm in comparison.arms}
    checkpoints = [each.name for arm in comparison.arms for each in members[arm.name]]
    groups = [place for place, arm in enumerate(comparison.arms) for _ in members[arm.name]]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in (*_CURVES, "abilities")}
    samples = PageSamples(thumbnails)
    for column in counted(comparison.columns, "writing the samples of benchmark"):
        sides = {name: records[name].get(column.task, ()) for name in checkpoints}
        light = {name: score_rows(side) for name, side in sides.items()}
        # A benchmark that a seed lacks is not drawn over fewer.
        own = [
            [light[each.name] for each in members[arm.name]]
            if column.task in comparison.cells[arm.name]
            else []
            for arm in comparison.arms
        ]
        for name, measure in _CURVES.items():
            found[name] += curves.measured_curve(column, own, measure)
        found["abilities"] += curves.ability_panel(column, own)
        samples.add(column.task, list(sides.values()), list(light.values()))
    data = {
        "heads": ("category", "benchmark"),
        "columns": [each.name for each in comparison.shown()],
        "places": _places(comparison),
        "lines": [_line(line) for line in table_rows(comparison)],
        "rates": _failures(comparison, records, members),
        "arms": [arm.name for arm in comparison.arms],
        "seeds": [arm.seeds for arm in comparison.arms],
        "short": plots.short_names(comparison.arms),
        "focus": plots.standing_out(comparison),
        "baseline": comparison.baseline,
        "differences": plots.difference_groups(comparison),
        "breakdowns": list(plots.breakdowns(comparison)),
        "steps": plots.training_steps(comparison, members),
        **found,
        "checkpoints": checkpoints,
        "sides": _sides(comparison, groups),
        **samples.data(),
    }
    runs, systems = about
    return _page("report.html", title, legend(comparison), data, runs=runs, systems=systems, facts=())


def _places(comparison: Comparison) -> list[int]:
    """The number of each shown column's arm; -1 for a published one."""
    numbers = count()
    return [next(numbers) if isinstance(each, Arm) else -1 for each in comparison.shown()]


def _sides(comparison: Comparison, groups: Sequence[int]) -> tuple[int, int]:
    """The checkpoints that are compared at first, the first two; of groups one of the baseline, and one of
    another. ``groups`` has the number of each checkpoint's arm.
    """
    base = next((place for place, arm in enumerate(comparison.arms) if arm.name == comparison.baseline), 0)
    if max(arm.seeds for arm in comparison.arms) == 1:
        return 0, min(1, len(groups) - 1)
    other = next((place for place, group in enumerate(groups) if group != base), len(groups) - 1)
    return groups.index(base), other


def _failures(
    comparison: Comparison, records: Mapping[str, RecordsByTask], members: plots.Members
) -> dict[str, Any]:
    """The table of failure rates, and those of benchmarks that have no score here (submissions)."""
    heads, rows = rates_table(comparison)
    found = {name: dict(zip(heads[1:], texts, strict=True)) for name, *texts in rows}
    known = {column.task for column in comparison.columns}
    for arm in comparison.arms:
        own = [records[each.name] for each in members[arm.name]]
        for task in dict.fromkeys(task for tasks in own for task in tasks if task not in known):
            light = [row for tasks in own for row in score_rows(tasks.get(task, ()))]
            counts = {
                rate: sum(not row_flags.isdisjoint(flags) for row_flags in (set(row.flags) for row in light))
                for rate, flags in RATES.items()
            }
            shares = {rate: percent(number, len(light)) for rate, number in counts.items() if number}
            if shares:
                found[f"{arm.name}: {task}, not scored here"] = shares
    shown = [rate for rate in RATES if any(rate in each for each in found.values())]
    filled = [[name, *(each.get(rate, "0") for rate in shown)] for name, each in found.items()]
    return {"heads": [heads[0], *shown], "rows": filled}


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
