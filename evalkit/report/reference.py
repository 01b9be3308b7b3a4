"""Published tables beside one's own: ``evalkit compare RUN... --reference paper-qwen2.5-vl-7b``.

The tables are data, in ``results/reference``. A published column stands beside the arms of its variant; where
their protocols are known to differ, or the paper doesn't state its own, the figure is marked and a footnote
says why.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from evalkit.core.errors import UsageError, did_you_mean
from evalkit.core.types import Category
from evalkit.report.aggregate import BY_LOGITS, CATEGORIES, BenchmarkColumn, tasks_by_row, unweighted
from evalkit.report.comparison import Arm, Comparison, Published
from evalkit.rope.variants import parse_variant

_UNKNOWN = "evalkit can't tell whether a checkpoint has the same size, base model and training"


@dataclass(frozen=True)
class PublishedMethod:
    """A line of a published table: its printed name, and evalkit's spelling of the variant."""

    name: str
    rope: str | None = None


@dataclass(frozen=True)
class PublishedFigure:
    """One printed figure for every method, in the methods' order.

    A benchmark has a ``category`` and a ``metric`` (evalkit's name of what is taken for the paper's
    measure); a printed mean says of what (a category, or the other ``rows``). ``assumed`` says what
    the paper leaves open; ``of`` is the number of benchmarks that the figure is the mean of.
    """

    row: str
    values: tuple[float, ...]
    category: Category | None = None
    metric: str | None = None
    mean: str | None = None
    assumed: str | None = None
    of: int = 1


@dataclass(frozen=True)
class PublishedTable:
    """A published table. ``name`` is that for ``--reference``, None where nothing can be compared."""

    name: str | None
    source: str
    title: str
    model: str
    families: tuple[str, ...]
    protocol: tuple[str, ...]
    notes: tuple[str, ...]
    methods: tuple[PublishedMethod, ...]
    figures: tuple[PublishedFigure, ...]

    def benchmarks(self, category: str | None = None) -> list[PublishedFigure]:
        """The figures of benchmarks, of all categories or of one."""
        return [each for each in self.figures if each.category and category in (None, each.category)]

    def value(self, row: str, method: PublishedMethod) -> float | None:
        """A printed benchmark score."""
        found = next((each for each in self.benchmarks() if each.row == row), None)
        return found.values[self.methods.index(method)] if found else None

    def matching(self, rope: str) -> list[PublishedMethod]:
        """The methods of exactly this variant; else the one of the same name with other parameters."""
        spelled = [(method, _canonical(method.rope)) for method in self.methods if method.rope]
        exact = [method for method, text in spelled if text == _canonical(rope)]
        alike = [method for method, text in spelled if _base(text) == _base(rope)]
        return exact or (alike if len(alike) == 1 else [])


def tables() -> list[PublishedTable]:
    """Every published table, in the paper's order."""
    return [_read(path) for path in sorted(_folder().glob("table*.json"))]


def load_reference(name: str) -> PublishedTable:
    """The table that ``--reference`` calls ``name``.

    Raises:
        UsageError: there is none of this name.
    """
    known = {each.name: each for each in tables() if each.name}
    if name not in known:
        hint = did_you_mean(name, known)
        raise UsageError(
            f"reference `{name}`", f"there is none of this name.{hint}", f"use one of {', '.join(known)}"
        )
    return known[name]


def with_reference(
    comparison: Comparison, reference: PublishedTable, sizes: Mapping[str, Mapping[str, int | None]]
) -> Comparison:
    """Set a published table beside a comparison.

    ``sizes`` maps arm and task to the number of samples that the benchmark has; None is unknown.
    """
    beside: dict[PublishedMethod, list[Arm]] = {}
    for arm in comparison.arms:
        for method in reference.matching(arm.rope):
            beside.setdefault(method, []).append(arm)
    shown = tasks_by_row(comparison.columns)
    published, notes = [], [f"paper: {reference.source}, {reference.title}; {reference.model}"]
    notes += [f"paper: {text}" for text in (*reference.protocol, *reference.notes, _UNKNOWN)]
    for method in reference.methods:
        if method in beside:
            values = {row: value for row in shown if (value := reference.value(row, method)) is not None}
            marks = _differences(comparison, reference, method, beside[method], sizes)
            published.append(
                Published(
                    name=f"paper {method.name}",
                    rope=method.rope or "",
                    source=reference.source,
                    beside=tuple(arm.name for arm in beside[method]),
                    values=values,
                    means=_means(comparison, reference, method),
                    marked=frozenset(row for row in values if "" in marks or row in marks),
                )
            )
            notes += [text for texts in marks.values() for text in texts]
    matched = {arm.name for arms in beside.values() for arm in arms}
    alone = [arm.name for arm in comparison.arms if arm.name not in matched]
    notes += [f"{name}: its variant is not in {reference.source}" for name in alone]
    absent = [row for row in shown if not any(each.row == row for each in reference.benchmarks())]
    notes += [f"not in {reference.source}: {', '.join(absent)}"] if absent else []
    return replace(comparison, published=published, reference_notes=list(dict.fromkeys(notes)))


def _differences(
    comparison: Comparison,
    reference: PublishedTable,
    method: PublishedMethod,
    arms: list[Arm],
    sizes: Mapping[str, Mapping[str, int | None]],
) -> dict[str, list[str]]:
    """Notes on known differences and open questions, by row; an empty name is for all rows."""
    found: dict[str, list[str]] = defaultdict(list)
    for arm in arms:
        if method.rope and _canonical(method.rope) != _canonical(arm.rope):
            found[""].append(f"† {arm.name} is `{arm.rope}`, paper {method.name} is `{method.rope}`")
        if arm.family not in reference.families:
            families = ", ".join(reference.families)
            found[""].append(f"† {arm.name} is of family {arm.family}, the paper's of {families}")
    for figure in reference.benchmarks():
        columns = [each for each in comparison.columns if _row(each) == figure.row]
        found[figure.row] += _about(figure, columns)
        for arm, column in product(arms, columns):
            cell, size = comparison.cells[arm.name].get(column.task), sizes[arm.name].get(column.task)
            if cell and size and cell.expected != size:
                text = f"† {column.task} has {cell.expected} of its {size} samples, the paper has all"
                found[figure.row].append(text)
    return {row: texts for row, texts in found.items() if texts}


def _about(figure: PublishedFigure, columns: Sequence[BenchmarkColumn]) -> list[str]:
    """Notes on what the paper leaves open about a benchmark, and on how our columns differ."""
    found = [f"† paper {figure.row}: {figure.assumed}"] if columns and figure.assumed else []
    found += [
        f"† {column.task} is scored {BY_LOGITS}, which the paper doesn't state"
        for column in columns
        if column.metric.endswith(BY_LOGITS)
    ]
    found += [
        f"† {each.task} is {each.metric}, {figure.metric} is taken for the paper's"
        for each in columns
        if figure.metric and each.metric != figure.metric
    ]
    if 0 < len(columns) < figure.of:
        found.append(f"† {columns[0].task} is one of {figure.of} that paper {figure.row} is the mean of")
    return found


def _means(
    comparison: Comparison, reference: PublishedTable, method: PublishedMethod
) -> dict[str, float | None]:
    """The means of the table's rows, as fractions: as printed where the rows are the paper's, recomputed
    over fewer of them, None where a row is not in the paper.
    """
    place = reference.methods.index(method)
    means: dict[str, float | None] = {}
    for category in CATEGORIES:
        rows = tasks_by_row([column for column in comparison.columns if column.category == category])
        if not rows:
            continue
        printed = [each.values[place] for each in reference.figures if each.mean == category]
        if printed and set(rows) == {each.row for each in reference.benchmarks(category)}:
            means[category] = printed[0] / 100
        else:
            values = [reference.value(row, method) for row in rows]
            mean = unweighted(values)
            means[category] = None if mean is None else mean / 100
    return {**means, "overall": unweighted(means.values())}


def _row(column: BenchmarkColumn) -> str:
    return column.row or column.task


def _canonical(rope: str) -> str:
    return str(parse_variant(rope))


def _base(rope: str) -> str:
    """A variant's name; a composition is a name of its own."""
    name = rope.partition("(")[0]
    return rope if "=" in name else name


def _folder() -> Path:
    """The tables: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_reference"
    return inside if inside.is_dir() else package.parent / "results" / "reference"


@cache
def _read(path: Path) -> PublishedTable:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    source = content["source"]
    return PublishedTable(
        name=content.get("name"),
        source=f"arXiv {source['arxiv']}, Table {source['table']}",
        title=content["title"],
        model=content["model"],
        families=tuple(content["families"]),
        protocol=tuple(content["protocol"]),
        notes=tuple(content["notes"]),
        methods=tuple(PublishedMethod(each["method"], each.get("rope")) for each in content["methods"]),
        figures=tuple(
            PublishedFigure(**{**each, "values": tuple(each["values"])}) for each in content["rows"]
        ),
    )
