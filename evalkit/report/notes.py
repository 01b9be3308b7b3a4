"""What stands around a table: its caption, the notes below it, and one compact table of failure rates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from evalkit.report.aggregate import RATES, BenchmarkColumn, Cell
from evalkit.report.comparison import MISPAIRED, Arm, Comparison, Value
from evalkit.report.grid import PARTIAL, UNRELIABLE, TableRow, scale
from evalkit.report.layout import DEFAULT, Layout

_NAMED = 4
"""Benchmarks that a note names before it only counts."""
ONE_SEED = "one checkpoint can't separate RoPE from seed"


def caption(comparison: Comparison, rows: Sequence[TableRow]) -> str:
    """What a table shows, and what every mark in it means."""
    count = sum(not row.mean for row in rows)
    entries = [entry for row in rows for entry in row.entries]
    marks = {mark for entry in entries for mark in entry.marks}
    ends = {entry.score[-1:] for entry in entries}
    what = (
        f"Scores of {count} benchmark{'s' if count != 1 else ''}, out of 100 where the metric is a fraction"
    )
    said: list[tuple[bool, str]] = [
        (True, what),
        (True, "Best of a row in bold, second underlined"),
        (any(row.mean for row in rows), "Means of categories are unweighted"),
        (any(entry.interval for entry in entries), "Ranges are 95% intervals"),
        (any(entry.spread for entry in entries), "± is the standard deviation between training seeds"),
        (comparison.baseline is not None, _sentence(_differences_in_words(comparison))),
        ("*" in ends, "* behind a score: some of its samples have none"),
        (bool(marks - {UNRELIABLE}), "n: samples with a score, where the cells of a row differ in them"),
        (UNRELIABLE in marks, f"{UNRELIABLE}: too many answers failed, and no rank is given"),
        ("†" in ends, "†: as published, under a protocol that differs or is not stated"),
        (any(entry.score == PARTIAL for entry in entries), f"{PARTIAL}: a benchmark of the mean is missing"),
    ]
    texts = [text for holds, text in said if holds] + [_sentence(_few_seeds(comparison.arms))]
    return ". ".join(filter(None, texts)) + "."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def legend(comparison: Comparison, layout: Layout = DEFAULT) -> list[str]:
    """The notes below a table: metrics, sizes and statistics, then what is to be known of single cells."""
    comparison = _titled(comparison, layout)
    metrics = ", ".join(f"{column.task} {column.metric}" for column in comparison.columns)
    sizes = ", ".join(f"{column.task} {_size(comparison, column.task)}" for column in comparison.columns)
    found = [f"metric: {metrics}", f"n: {sizes}" + ("; ranges are 95% intervals" if layout.intervals else "")]
    found += _recipes(comparison)
    if comparison.mean_spreads:
        found.append(
            "± is the standard deviation between training seeds; intervals and tests count seeds and samples"
        )
    if comparison.baseline is not None:
        found += _about_differences(comparison)
    few = _few_seeds(comparison.arms)
    return [*found, *([few] if few else []), *footnotes(comparison)]


def _recipes(comparison: Comparison) -> list[str]:
    """Under which conditions the arms were asked: one line if all the same, else one for each."""
    recipes = {arm.name: arm.recipe for arm in comparison.arms}
    if len(set(recipes.values())) == 1:
        return [f"recipe: {next(iter(recipes.values()))}"]
    return [f"{name}: recipe {recipe}" for name, recipe in recipes.items()]


def footnotes(comparison: Comparison) -> list[str]:
    """The notes on cells, a line for each arm or benchmark rather than for each cell: what was not run or has
    no score, what is unreliable, official figures.
    """
    notes = list(comparison.notes)
    notes += [
        f"{MISPAIRED} {arm.name}: its config says it was trained with {arm.trained_with}, not {arm.rope}"
        for arm in comparison.arms
        if arm.trained_with
    ]
    for arm in comparison.arms:
        cells = comparison.cells[arm.name]
        absent = [column.task for column in comparison.columns if column.task not in cells]
        if absent:
            notes.append(f"{arm.name}: not run: {_few(absent)}")
        lacking = [
            f"{task} {cell.expected - cell.estimate.n} of {cell.expected}"
            for task, cell in cells.items()
            if not cell.whole
        ]
        if lacking:
            notes.append(f"{arm.name}: samples without a score: {_few(lacking)}")
        bad = [f"{task} ({'; '.join(cell.unreliable)})" for task, cell in cells.items() if cell.unreliable]
        if bad:
            notes.append(f"{arm.name}: {UNRELIABLE}: {_few(bad)}")
    for column in comparison.columns:
        notes += [*_repeated(comparison, column), *_official(comparison, column)]
    return [*notes, *comparison.reference_notes]


def rates_table(comparison: Comparison, layout: Layout = DEFAULT) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a table with the failure rates of every arm that has any: over all of its samples,
    and those of the worst benchmark where that is more.
    """
    comparison = _titled(comparison, layout)
    shown = [rate for rate in RATES if any(_counts(comparison, arm, rate) for arm in comparison.arms)]
    rows = [
        [arm.name, *(_rate(comparison, arm, rate) for rate in shown)]
        for arm in comparison.arms
        if any(_counts(comparison, arm, rate) for rate in shown)
    ]
    return ["share of answers", *shown], rows


def _titled(comparison: Comparison, layout: Layout) -> Comparison:
    """The comparison with titles in the place of the names of benchmarks, where a layout wants them."""
    if not layout.paper:
        return comparison
    titles = {column.task: column.title for column in comparison.columns}
    if len(set(titles.values())) < len(titles):
        return comparison

    def retitled(by_task: Mapping[str, Value]) -> dict[str, Value]:
        return {titles[task]: value for task, value in by_task.items()}

    return replace(
        comparison,
        columns=[replace(column, task=column.title) for column in comparison.columns],
        cells={name: retitled(cells) for name, cells in comparison.cells.items()},
        differences={name: retitled(found) for name, found in comparison.differences.items()},
    )


def _counts(comparison: Comparison, arm: Arm, rate: str) -> int:
    return sum(cell.counts.get(rate, 0) for cell in comparison.cells[arm.name].values())


def _rate(comparison: Comparison, arm: Arm, rate: str) -> str:
    cells = comparison.cells[arm.name]
    every = sum(_asked(cell, arm) for cell in cells.values())
    total = _counts(comparison, arm, rate)
    if not total:
        return "0"
    text = percent(total, every)
    worst = max(cells, key=lambda task: cells[task].counts.get(rate, 0) / (_asked(cells[task], arm) or 1))
    worst_text = percent(cells[worst].counts.get(rate, 0), _asked(cells[worst], arm))
    return text if len(cells) == 1 else f"{text} ({worst} {worst_text})"


def _asked(cell: Cell, arm: Arm) -> int:
    return cell.answers * arm.seeds


def percent(count: int, every: int) -> str:
    """A share that is never rounded to none.

    >>> percent(1, 5000), percent(1, 8)
    ('<0.1%', '12.5%')
    """
    share = count / every if every else math.nan
    return "<0.1%" if 0 < share < 0.001 else f"{share:.1%}"


def _repeated(comparison: Comparison, column: BenchmarkColumn) -> Iterator[str]:
    """Notes on several answers to each question of a benchmark; one for each number of answers."""
    found: dict[int, list[str]] = {}
    for arm in comparison.arms:
        cell = comparison.cells[arm.name].get(column.task)
        if cell is not None and cell.repetitions > 1:
            figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in cell.repeated.items())
            found.setdefault(cell.repetitions, []).append(f"{arm.name} {figures}" if figures else arm.name)
    for count, arms in found.items():
        yield f"{column.task}: means of {count} answers to each question: {'; '.join(arms)}"


def _official(comparison: Comparison, column: BenchmarkColumn) -> Iterator[str]:
    """Notes on official scripts' figures of a benchmark, where they differ from ours; one for each figure."""
    found: dict[str, list[str]] = {}
    for arm in comparison.arms:
        cell = comparison.cells[arm.name].get(column.task)
        for name, value in cell.figures.items() if cell else ():
            ours = cell.figures.get(name.removeprefix("official_")) if cell else None
            if name.startswith("official_") and "/" not in name and not math.isnan(value) and value != ours:
                found.setdefault(name, []).append(f"{arm.name} {100 * value:.1f}")
    for name, values in found.items():
        yield f"{column.task} {name}: {', '.join(values)}"


def _about_differences(comparison: Comparison) -> list[str]:
    seen = [
        f"{column.task} {max(found) * scale(column):.1f}"
        for column in comparison.columns
        if (
            found := [
                each[column.task].detectable
                for each in comparison.differences.values()
                if column.task in each and not math.isnan(each[column.task].detectable)
            ]
        )
    ]
    return [
        _differences_in_words(comparison),
        f"smallest difference that 80% of such comparisons would find: {', '.join(seen) or 'none known'}",
    ]


def _differences_in_words(comparison: Comparison) -> str:
    how = {"holm": "Holm's correction", "bh": "Benjamini and Hochberg's correction"}
    corrected = how.get(comparison.correction, "no correction")
    tests = "McNemar, or a t test clustered by image and video"
    if any(arm.seeds > 1 for arm in comparison.arms):
        tests = "a t test over training seeds and clusters of samples"
    return (
        f"differences are to {comparison.baseline}, paired by sample; * p < 0.05 after {corrected} over "
        f"the benchmarks ({tests}), for means a 95% interval without 0"
    )


def _few_seeds(arms: Sequence[Arm]) -> str:
    """What is to be said of arms with one training seed; empty where there is nothing to compare."""
    single = [arm.name for arm in arms if arm.seeds == 1]
    if len(arms) < 2 or not single:
        return ""
    whose = "of every arm" if len(single) == len(arms) else f"of {_few(single)}"
    return f"one training seed {whose}: {ONE_SEED}"


def _few(names: Sequence[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _size(comparison: Comparison, task: str) -> int:
    found = (cells[task].expected for cells in comparison.cells.values() if task in cells)
    return max(found, default=0)
