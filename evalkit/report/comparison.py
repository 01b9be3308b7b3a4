"""The comparison of arms (models with variants) over benchmarks, which every format is drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from evalkit.core.strict_json import finite_json
from evalkit.report.aggregate import RATES, BenchmarkColumn, Cell, category_means
from evalkit.report.paired import Difference

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Arm:
    """One model with one variant, from one run: a column of the printed table. ``engine`` says what computed
    its answers; empty if that is not known.
    """

    name: str
    model: str
    rope: str
    family: str
    fingerprint: str
    run: str
    engine: str = ""


@dataclass(frozen=True)
class Published:
    """A column of a published table, ``beside`` the arms of its variant.

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
    """Arms and benchmarks; ``cells`` holds scores by arm and task.

    With a ``baseline`` (an arm's name), ``differences`` holds paired differences to it by arm and task,
    ``parts`` by arm and (task, group, label), and ``mean_differences`` ``(value, low, high)`` by arm and name
    of a mean. ``notes`` are further footnotes. ``published`` are columns of a published table,
    ``reference_notes`` the footnotes on it and on where protocols differ.
    """

    arms: Sequence[Arm]
    columns: Sequence[BenchmarkColumn]
    cells: Mapping[str, Mapping[str, Cell]]
    baseline: str | None = None
    correction: str = "none"
    differences: Mapping[str, Mapping[str, Difference]] = field(default_factory=dict)
    parts: Mapping[str, Mapping[tuple[str, str, str], Difference]] = field(default_factory=dict)
    mean_differences: Mapping[str, Mapping[str, tuple[float, float, float]]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    published: Sequence[Published] = ()
    reference_notes: Sequence[str] = ()

    def shown(self) -> list[Arm | Published]:
        """The arms in order, each published column after the last arm that it belongs to."""
        found: list[Arm | Published] = []
        for arm in self.arms:
            found += [arm, *(each for each in self.published if each.beside[-1] == arm.name)]
        return found

    def means(self, arm: str) -> dict[str, float | None]:
        """Category means and ``overall`` of one arm, as fractions of the metrics' ranges."""
        return category_means(self.cells[arm], self.columns)

    def unreliable(self) -> list[str]:
        """The scores that are unreliable, by arm and task, each with its reasons."""
        return [
            f"{arm} {task}: {'; '.join(cell.unreliable)}"
            for arm, cells in self.cells.items()
            for task, cell in cells.items()
            if cell.unreliable
        ]

    def footnotes(self) -> list[str]:
        """The footnotes of single cells: incomplete or unreliable scores, failure rates, official figures."""
        notes = list(self.notes)
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
                if cell.unreliable:
                    notes.append(f"{arm.name} {column.task}: UNRELIABLE: {'; '.join(cell.unreliable)}")
                shown = [f"{count} {rate}" for rate, count in cell.counts.items() if count]
                if shown:
                    notes.append(f"{arm.name} {column.task}: {', '.join(shown)} of {cell.expected}")
                notes += [f"{arm.name} {column.task}: {text}" for text in _official(cell)]
        return [*notes, *self.reference_notes]

    def to_json(self) -> dict[str, Any]:
        """Everything at full precision; missing and non-finite values are null."""
        rows = []
        for arm in self.arms:
            cells = self.cells[arm.name]
            rows.append(
                {
                    **asdict(arm),
                    "means": self.means(arm.name),
                    "tasks": {task: _cell_json(cell) for task, cell in cells.items()},
                    "differences": {
                        task: asdict(found) for task, found in self.differences.get(arm.name, {}).items()
                    },
                    "mean_differences": dict(self.mean_differences.get(arm.name, {})),
                }
            )
        columns = [{**asdict(column), "limits": list(column.limits)} for column in self.columns]
        about = {"baseline": self.baseline, "correction": self.correction, "notes": list(self.notes)}
        found = {"arms": rows, "columns": columns, **about}
        if self.reference_notes:
            published = [{**asdict(each), "marked": sorted(each.marked)} for each in self.published]
            found |= {"published": published, "reference_notes": list(self.reference_notes)}
        content: dict[str, Any] = finite_json(found)
        return content

    def to_pandas(self) -> pd.DataFrame:
        """A frame with one row for each arm and benchmark with a score.

        ``score``, ``low`` and ``high`` are in the metric's own range; ``complete`` is whether all
        ``expected`` samples have a score. With a baseline, ``difference`` and what belongs to it stand beside
        them, NaN in the baseline's own rows.
        """
        import pandas as pd

        rows = [
            self._frame_row(arm, column)
            for arm in self.arms
            for column in self.columns
            if column.task in self.cells[arm.name]
        ]
        return pd.DataFrame(rows, columns=None if rows else ["arm", "task", "score"])

    def _frame_row(self, arm: Arm, column: BenchmarkColumn) -> dict[str, Any]:
        cell = self.cells[arm.name][column.task]
        row: dict[str, Any] = {
            "arm": arm.name,
            "model": arm.model,
            "rope": arm.rope,
            "run": arm.run,
            "task": column.task,
            "category": column.category,
            "metric": column.metric,
            "score": cell.estimate.value,
            "low": cell.estimate.low,
            "high": cell.estimate.high,
            "n": cell.estimate.n,
            "expected": cell.expected,
            "complete": cell.whole,
            **{rate.replace(" ", "_"): cell.counts.get(rate, 0) for rate in RATES},
            "unreliable": "; ".join(cell.unreliable),
        }
        if self.baseline is None:
            return row
        found = self.differences.get(arm.name, {}).get(column.task)
        row["baseline"] = self.baseline
        for name in ("value", "low", "high", "p", "corrected", "detectable"):
            label = "difference" if name == "value" else f"difference_{name}"
            row[label] = getattr(found, name) if found else math.nan
        return row


def _official(cell: Cell) -> list[str]:
    """Footnotes on the official script's figures, where they differ from ours."""
    found = {name: value for name, value in cell.figures.items() if name.startswith("official_")}
    return [
        f"{name} {100 * value:.1f}"
        for name, value in found.items()
        if "/" not in name
        and not math.isnan(value)
        and value != cell.figures.get(name.removeprefix("official_"))
    ]


def _cell_json(cell: Cell) -> dict[str, Any]:
    """A cell without its names, its estimate's fields first."""
    content = asdict(cell)
    del content["arm"], content["task"]
    return {**content.pop("estimate"), **content}
