"""How a comparison is laid out: which rows under which titles, how many digits, with intervals or without.

The preset ``paper`` is that of Table 2 of the paper (arXiv 2510.23095): a row for each of its benchmarks, in
its order and under its names, the means of the categories below them, variants in its order.
"""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.report.aggregate import CATEGORIES, tasks_by_row
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.reference import PublishedMethod, PublishedTable, load_reference

PAPER = "paper"
LAYOUTS = ("default", PAPER)
_PAPER_TABLE = "paper-qwen2.5-vl-7b"


@dataclass(frozen=True)
class Layout:
    """``digits`` after the point of every score; ``name`` is one of ``LAYOUTS``."""

    name: str = LAYOUTS[0]
    digits: int = 1
    intervals: bool = True

    @classmethod
    def of(cls, name: str, digits: int | None = None, intervals: bool | None = None) -> Layout:
        """A preset, or what of it is wanted otherwise: the paper prints two digits and no intervals."""
        paper = name == PAPER
        return cls(
            name,
            digits if digits is not None else (2 if paper else 1),
            intervals if intervals is not None else not paper,
        )

    @property
    def paper(self) -> bool:
        """Whether it is that of the paper."""
        return self.name == PAPER


DEFAULT = Layout()


@dataclass(frozen=True)
class RowPlan:
    """A row to draw: the benchmarks behind it, of which ``mean`` rows show the mean of that name."""

    category: str
    label: str
    tasks: tuple[str, ...]
    mean: str | None = None


def planned_rows(comparison: Comparison, layout: Layout) -> list[RowPlan]:
    """The rows of a comparison in the order of a layout."""
    return _paper_rows(comparison) if layout.paper else _default_rows(comparison)


def _default_rows(comparison: Comparison) -> list[RowPlan]:
    """The benchmarks of each category, then their mean where there are several, then the mean of all."""
    found: list[RowPlan] = []
    for category in CATEGORIES:
        columns = [column for column in comparison.columns if column.category == category]
        rows = tasks_by_row(columns)
        for row, tasks in rows.items():
            found += [
                RowPlan(category, column.task, (column.task,)) for column in columns if column.task in tasks
            ]
            if len(tasks) > 1:
                found.append(RowPlan(category, row, tuple(tasks), row))
        if len(rows) > 1:
            every = tuple(column.task for column in columns)
            found.append(RowPlan(category, f"mean of {len(rows)}", every, category))
    if len({column.category for column in comparison.columns}) > 1:
        every = tuple(column.task for column in comparison.columns)
        found.append(RowPlan("overall", "mean of categories", every, "overall"))
    return found


def _paper_rows(comparison: Comparison) -> list[RowPlan]:
    """The paper's rows that are there, in its order, then others by their titles; below, means."""
    order = [figure.row for figure in _table().benchmarks()]
    titles = {column.task: column.title for column in comparison.columns}
    found: list[RowPlan] = []
    means: list[RowPlan] = []
    for category in CATEGORIES:
        columns = [column for column in comparison.columns if column.category == category]
        rows = tasks_by_row(columns)
        for row in sorted(rows, key=lambda name: order.index(name) if name in order else len(order)):
            tasks = tuple(rows[row])
            alone = len(tasks) == 1
            whole = alone and _figures_of(row) == 1
            label = row if whole or not alone else titles[tasks[0]]
            found.append(RowPlan(category, label, tasks, None if alone else row))
        if rows:
            every = tuple(column.task for column in columns)
            means.append(RowPlan("overall", category.capitalize(), every, category))
    return [*found, *means] if len(found) > len(means) else found


def _figures_of(row: str) -> int:
    """How many benchmarks the paper's row is the mean of; 0 for a row that the paper lacks."""
    return next((figure.of for figure in _table().benchmarks() if figure.row == row), 0)


def arranged(comparison: Comparison, layout: Layout) -> Comparison:
    """The comparison with its arms in the order of a layout, and under its names: the paper's for its
    variants, where that tells them apart. Variants that the paper lacks are last.
    """
    if not layout.paper:
        return comparison
    methods = _table().methods

    def place(arm: Arm) -> int:
        matching = _methods(arm)
        return methods.index(matching[0]) if matching else len(methods)

    printed = [_printed(arm) for arm in comparison.arms]
    names = {
        arm.name: arm.name if printed.count(_printed(arm)) > 1 else _printed(arm)
        for arm in sorted(comparison.arms, key=place)
    }
    clash = len(set(names.values())) < len(names)
    return comparison.renamed({name: name for name in names} if clash else names)


def heads(comparison: Comparison) -> list[str]:
    """The headings of a table's columns, with the number of training seeds where arms were grouped."""
    shown = comparison.shown()
    seeds = [each.seeds if isinstance(each, Arm) else 0 for each in shown]
    if max(seeds, default=0) < 2:
        return [each.name for each in shown]
    return [
        f"{each.name} ({count} seed{'s' if count > 1 else ''})" if count else each.name
        for each, count in zip(shown, seeds, strict=True)
    ]


def _printed(arm: Arm) -> str:
    """The paper's name of an arm's variant, with the parameters that were given; a label comes first."""
    matching = _methods(arm)
    if arm.label or not matching:
        return arm.name
    given = "" if arm.rope == matching[0].rope else arm.rope.partition("(")[2]
    return f"{matching[0].name} ({given}" if given else matching[0].name


def _methods(arm: Arm) -> list[PublishedMethod]:
    """The paper's methods of an arm's variant; one from outside (``--ropes-dir``) is not known here."""
    try:
        return _table().matching(arm.rope)
    except ValueError:
        return []


def _table() -> PublishedTable:
    return load_reference(_PAPER_TABLE)
