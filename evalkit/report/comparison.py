"""Arms side by side: the one table that every format is drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from evalkit.errors import UsageError
from evalkit.report.aggregate import Cell, Column, Estimate, category_means
from evalkit.store.records import Record


@dataclass(frozen=True)
class Arm:
    """A row: one model with one variant, out of one run."""

    name: str
    model: str
    rope: str
    family: str
    fingerprint: str
    run: str


@dataclass(frozen=True)
class Published:
    """A row of a published table, ``beside`` the arms of its variant.

    ``values`` are scores out of 100 by row of the paper, those ``marked`` under a protocol that
    differs or is not stated; ``means`` are fractions, as :meth:`Comparison.means` gives them.
    """

    name: str
    rope: str
    source: str
    beside: tuple[str, ...]
    values: Mapping[str, float]
    means: Mapping[str, float | None]
    marked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Comparison:
    """Rows are arms, columns benchmarks; ``cells`` maps arm and task to what was reached.

    ``published`` rows stand among the arms where a published table was asked for;
    ``reference_notes`` say what it is, and where protocols differ.
    """

    arms: Sequence[Arm]
    columns: Sequence[Column]
    cells: Mapping[str, Mapping[str, Cell]]
    published: Sequence[Published] = ()
    reference_notes: Sequence[str] = field(default=())

    def rows(self) -> list[Arm | Published]:
        """The arms in order, each published row below the last arm that it belongs to."""
        found: list[Arm | Published] = []
        for arm in self.arms:
            found += [arm, *(each for each in self.published if each.beside[-1] == arm.name)]
        return found

    def means(self, arm: str) -> dict[str, float | None]:
        """Category means and ``overall`` of one arm, as fractions of the metrics' ranges."""
        return category_means(self.cells[arm], self.columns)

    def best(self, task: str) -> float:
        """The highest score in a column; NaN for an empty one."""
        found = [cells[task].estimate.value for cells in self.cells.values() if task in cells]
        return max((value for value in found if not math.isnan(value)), default=math.nan)

    def footnotes(self) -> list[str]:
        """What a reader must know beside the scores: incomplete cells and failure rates."""
        notes = []
        for arm in self.arms:
            for column in self.columns:
                cell = self.cells[arm.name].get(column.task)
                if cell is None:
                    notes.append(f"{arm.name} {column.task}: not run")
                    continue
                if not cell.whole:
                    notes.append(
                        f"{arm.name} {column.task}: {cell.estimate.n} of {cell.expected} samples have a score"
                    )
                shown = [f"{count} {rate}" for rate, count in cell.counts.items() if count]
                if shown:
                    notes.append(f"{arm.name} {column.task}: {', '.join(shown)} of {cell.expected}")
                notes += [f"{arm.name} {column.task}: {text}" for text in _official(cell)]
        return [*notes, *self.reference_notes]

    def to_json(self) -> dict[str, Any]:
        """Everything at full precision; NaN and missing values are null."""
        rows = []
        for arm in self.arms:
            cells = self.cells[arm.name]
            rows.append(
                {
                    **asdict(arm),
                    "means": self.means(arm.name),
                    "tasks": {task: _cell_json(cell) for task, cell in cells.items()},
                }
            )
        columns = [{**asdict(column), "limits": list(column.limits)} for column in self.columns]
        found: dict[str, Any] = {"arms": rows, "columns": columns}
        if self.reference_notes:
            published = [{**asdict(each), "marked": sorted(each.marked)} for each in self.published]
            found |= {"published": published, "reference_notes": list(self.reference_notes)}
        return found


def check_comparable(arms: Sequence[Arm], records: Mapping[str, Mapping[str, Sequence[Record]]]) -> None:
    """Refuse to put scores side by side that answer different questions.

    ``records`` maps arm and task to that arm's records. Sample sets, references and media (content,
    frames, size) must be the same for every arm; prompts too, unless the families differ, since each has its
    own chat format.

    Raises:
        UsageError: names the task, the two arms and the first sample that differs.
    """
    for task in dict.fromkeys(task for tasks in records.values() for task in tasks):
        having = [arm for arm in arms if records[arm.name].get(task)]
        for arm in having[1:]:
            first = having[0]
            problem = _difference(
                records[first.name][task], records[arm.name][task], prompts=first.family == arm.family
            )
            if problem:
                raise UsageError(
                    f"`{first.name}` ({first.run}) and `{arm.name}` ({arm.run}) can't be compared on {task}",
                    problem,
                    "run both with the same `--limit`, data and evalkit version",
                )


def _official(cell: Cell) -> list[str]:
    """The official script's own figures where they differ from ours."""
    found = {name: value for name, value in cell.figures.items() if name.startswith("official_")}
    return [
        f"{name} {100 * value:.1f}"
        for name, value in found.items()
        if "/" not in name and value != cell.figures.get(name.removeprefix("official_"))
    ]


def _difference(first: Sequence[Record], second: Sequence[Record], prompts: bool) -> str | None:
    """What differs between two arms' questions, or None."""
    left = {record.sample_id: record for record in first}
    right = {record.sample_id: record for record in second}
    if left.keys() != right.keys():
        only = sorted(left.keys() ^ right.keys())
        return f"{len(only)} samples are in one of them only, such as `{only[0]}`"
    for sample_id, record in left.items():
        other = right[sample_id]
        if record.failed or other.failed:
            continue
        if record.media != other.media:
            return f"sample `{sample_id}` was shown with different media (content, frames or size)"
        if record.reference != other.reference:
            return f"sample `{sample_id}` has different references"
        if prompts and record.prompt != other.prompt:
            return f"sample `{sample_id}` was asked with different prompts"
    return None


def _cell_json(cell: Cell) -> dict[str, Any]:
    breakdown = {
        group: {label: _estimate_json(found) for label, found in labels.items()}
        for group, labels in cell.breakdown.items()
    }
    return {
        **_estimate_json(cell.estimate),
        "expected": cell.expected,
        "counts": dict(cell.counts),
        "figures": {name: _number(value) for name, value in cell.figures.items()},
        "breakdown": breakdown,
    }


def _estimate_json(estimate: Estimate) -> dict[str, Any]:
    return {name: _number(value) for name, value in asdict(estimate).items()}


def _number(value: float) -> float | None:
    return None if isinstance(value, float) and math.isnan(value) else value
