"""Self-contained HTML pages: of finished runs (table, plots, every answer side by side), or of one table.

A page needs no network: its data, style and script are in it. What models wrote is in it as JSON, which the
script shows as text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from operator import attrgetter
from typing import Any

from evalkit.core.strict_json import finite_json
from evalkit.report.aggregate import RATES, BenchmarkColumn, value_of
from evalkit.report.comparison import Comparison
from evalkit.report.differences import RecordsByTask
from evalkit.report.grid import TableRow, legend, scale, table_rows
from evalkit.report.html import render
from evalkit.report.samples import PageSamples, Thumbnails
from evalkit.report.steps import counted
from evalkit.store.records_table import ScoreRow, score_rows

_BINS = 6


def report_page(
    comparison: Comparison, records: Mapping[str, RecordsByTask], thumbnails: Thumbnails, title: str
) -> str:
    """A page about finished runs.

    ``records`` maps arm and task to scored records, ``thumbnails`` (task, sample id) to ``data:`` URLs.
    """
    curves = {"duration": attrgetter("video_seconds"), "tokens": attrgetter("visual_tokens")}
    plots: dict[str, list[dict[str, Any]]] = {name: [] for name in curves}
    flags = [Counter[str]() for _ in comparison.arms]
    samples = PageSamples(thumbnails)
    columns = {column.task: column for column in comparison.columns}
    others = dict.fromkeys(task for arm in comparison.arms for task in records[arm.name])
    tasks = [*columns, *(task for task in others if task not in columns)]
    for task in counted(tasks, "writing the samples of benchmark"):
        sides = [records[arm.name].get(task, ()) for arm in comparison.arms]
        light = [score_rows(side) for side in sides]
        for counts, found in zip(flags, light, strict=True):
            counts.update(_flags(found))
        if task in columns:
            for name, measure in curves.items():
                plots[name] += _curves(columns[task], light, measure)
            samples.add(task, sides, light)
    names = ["samples", *(flag for rate in RATES.values() for flag in rate)]
    data = {
        "heads": ("category", "benchmark"),
        "columns": [each.name for each in comparison.shown()],
        "lines": [_line(line) for line in table_rows(comparison)],
        "arms": [arm.name for arm in comparison.arms],
        "forest": list(_forest(comparison)),
        "heat": list(_heat(comparison)),
        **plots,
        "flags": [{name: counts[name] for name in names} for counts in flags],
        **samples.data(),
    }
    return _page("report.html", title, legend(comparison), data)


def table_page(
    title: str,
    heads: tuple[str, str],
    columns: Sequence[str],
    table: Sequence[TableRow],
    notes: Sequence[str],
) -> str:
    """A page with one table to sort and filter; ``heads`` are the headings of its first two columns."""
    data = {"heads": heads, "columns": list(columns), "lines": [_line(line) for line in table]}
    return _page("page.html", title, notes, data)


def _page(template: str, title: str, notes: Sequence[str], data: Mapping[str, Any]) -> str:
    assets = files("evalkit.report") / "assets"
    style, script = ((assets / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return render(template, title=title, notes=notes, style=style, script=script, data=finite_json(data))


def _line(line: TableRow) -> dict[str, Any]:
    return {
        "category": line.category,
        "label": line.label,
        "mean": line.mean,
        "entries": [vars(entry) for entry in line.entries],
        "values": [_number(entry.score) for entry in line.entries],
    }


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("*†"))
    except ValueError:
        return None


def _forest(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for column in comparison.columns:
        for place, arm in enumerate(comparison.arms):
            found = comparison.differences.get(arm.name, {}).get(column.task)
            if found is not None and not math.isnan(found.low):
                factor = scale(column)
                yield {
                    "task": column.task,
                    "arm": place,
                    "value": found.value * factor,
                    "low": found.low * factor,
                    "high": found.high * factor,
                    "significant": found.significant,
                }


def _heat(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for column in comparison.columns:
        cells = [comparison.cells[arm.name].get(column.task) for arm in comparison.arms]
        groups = dict.fromkeys(group for cell in cells if cell for group in cell.breakdown)
        for group in groups:
            parts = [cell.breakdown.get(group, {}) if cell else {} for cell in cells]
            labels = dict.fromkeys(label for part in parts for label in part)
            rows = []
            for label in labels:
                found = [part.get(label) for part in parts]
                values = [
                    None if each is None or math.isnan(each.value) else each.value * scale(column)
                    for each in found
                ]
                rows.append({"label": label, "n": max(each.n for each in found if each), "values": values})
            top = column.limits[1] * scale(column)
            yield {"title": f"{column.task} by {group}", "rows": rows, "top": top}


def _curves(
    column: BenchmarkColumn, light: Sequence[Sequence[ScoreRow]], measure: Callable[[ScoreRow], float | None]
) -> Iterator[dict[str, Any]]:
    """Mean scores over bins of ``measure`` with equal numbers of samples; none if all samples are equal in
    it.
    """
    curves = []
    for place, side in enumerate(light):
        points = [
            (size, value)
            for each in side
            if (value := value_of(each)) is not None and (size := measure(each)) is not None
        ]
        if len({size for size, _ in points}) > 1:
            binned = [(size, value * scale(column), count) for size, value, count in _binned(sorted(points))]
            curves.append({"arm": place, "points": binned})
    if curves:
        yield {"task": column.task, "curves": curves, "top": column.limits[1] * scale(column)}


def _binned(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float, int]]:
    """Bins of about equal numbers of samples; those of one size are in one bin."""
    part: list[tuple[float, float]] = []
    for place, point in enumerate(points):
        part.append(point)
        last = place + 1 == len(points)
        if last or (len(part) >= len(points) / _BINS and points[place + 1][0] != point[0]):
            size, value = (sum(each[axis] for each in part) / len(part) for axis in (0, 1))
            yield size, value, len(part)
            part = []


def _flags(light: Sequence[ScoreRow]) -> Counter[str]:
    """The number of samples, and of those with each flag."""
    found = Counter(flag for each in light for flag in set(each.flags))
    return found + Counter(samples=len(light))
