"""The comparison of arms (models with variants) over benchmarks, which every format is drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from evalkit.config.recipes import PAPER
from evalkit.core.strict_json import finite_json
from evalkit.report.aggregate import RATES, BenchmarkColumn, Cell, category_means
from evalkit.report.paired import Difference

if TYPE_CHECKING:
    import pandas as pd

Value = TypeVar("Value")


MISPAIRED = "‡"
"""The mark of a checkpoint that runs with another variant than it says it was trained with."""


@dataclass(frozen=True)
class Arm:
    """One model with one variant, from one run: a column of the printed table.

    ``name`` is what tables show, unique in its comparison: a ``label`` where one was given, else ``system``,
    the name in the run's manifest. ``seeds`` is the number of checkpoints behind it, each of another training
    seed. ``trained_with`` is the variant that the checkpoint says it was trained with, if it is another;
    ``recipe`` says under which conditions it was asked, ``engine`` what computed its answers (empty if that
    is not known).
    """

    name: str
    model: str
    rope: str
    family: str
    fingerprint: str
    run: str
    trained_with: str | None = None
    system: str = ""
    label: str = ""
    seeds: int = 1
    recipe: str = PAPER
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


@dataclass(frozen=True, repr=False)
class Comparison:
    """Arms and benchmarks; ``cells`` holds scores by arm and task.

    With a ``baseline`` (an arm's name), ``differences`` holds paired differences to it by arm and task,
    ``parts`` by arm and (task, group, label), and ``mean_differences`` ``(value, low, high)`` by arm and name
    of a mean; ``mean_spreads`` the standard deviation of a mean between training seeds, and ``mean_by_seed``
    the mean of every checkpoint, as fractions. ``notes`` are further footnotes. ``published`` are columns of
    a published table, ``reference_notes`` the footnotes on it and on where protocols differ.
    """

    arms: Sequence[Arm]
    columns: Sequence[BenchmarkColumn]
    cells: Mapping[str, Mapping[str, Cell]]
    baseline: str | None = None
    correction: str = "none"
    differences: Mapping[str, Mapping[str, Difference]] = field(default_factory=dict)
    parts: Mapping[str, Mapping[tuple[str, str, str], Difference]] = field(default_factory=dict)
    mean_differences: Mapping[str, Mapping[str, tuple[float, float, float]]] = field(default_factory=dict)
    mean_spreads: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    mean_by_seed: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    published: Sequence[Published] = ()
    reference_notes: Sequence[str] = ()

    def __repr__(self) -> str:
        arms = ", ".join(arm.name for arm in self.arms)
        return f"<Comparison of {arms} on {', '.join(column.task for column in self.columns)}>"

    def _repr_html_(self) -> str:
        """The table, in a notebook."""
        from evalkit.report.tables import html

        return html(self)

    def shown(self) -> list[Arm | Published]:
        """The arms in order, each published column after the last arm that it belongs to; a mispaired arm's
        name has a mark.
        """
        found: list[Arm | Published] = []
        for arm in self.arms:
            marked = replace(arm, name=f"{arm.name} {MISPAIRED}") if arm.trained_with else arm
            found += [marked, *(each for each in self.published if each.beside[-1] == arm.name)]
        return found

    def renamed(self, names: Mapping[str, str]) -> Comparison:
        """The same with other names of arms, in the order of ``names``, which has all of them."""
        arms = {arm.name: arm for arm in self.arms}
        published = [
            replace(each, beside=tuple(new for old, new in names.items() if old in each.beside))
            for each in self.published
        ]
        return replace(
            self,
            arms=[replace(arms[old], name=new) for old, new in names.items()],
            cells={
                new: {task: replace(cell, arm=new) for task, cell in self.cells[old].items()}
                for old, new in names.items()
            },
            baseline=None if self.baseline is None else names[self.baseline],
            differences=_moved(self.differences, names),
            parts=_moved(self.parts, names),
            mean_differences=_moved(self.mean_differences, names),
            mean_spreads=_moved(self.mean_spreads, names),
            mean_by_seed=_moved(self.mean_by_seed, names),
            published=published,
        )

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

    def unreliable_means(self, arm: str) -> list[str]:
        """The names of an arm's means that rest on an unreliable score."""
        marked = [column for column in self.columns if self._unreliable(arm, column.task)]
        rows = [column.row or column.task for column in marked]
        overall = ["overall"] if marked else []
        known = self.means(arm)
        return [
            name
            for name in (*dict.fromkeys([*rows, *(each.category for each in marked)]), *overall)
            if name in known
        ]

    def _unreliable(self, arm: str, task: str) -> bool:
        cell = self.cells[arm].get(task)
        return cell is not None and bool(cell.unreliable)

    def to_json(self) -> dict[str, Any]:
        """Everything at full precision; missing and non-finite values are null."""
        rows = []
        for arm in self.arms:
            cells = self.cells[arm.name]
            rows.append(
                {
                    **asdict(arm),
                    "means": self.means(arm.name),
                    "unreliable_means": self.unreliable_means(arm.name),
                    "tasks": {task: _cell_json(cell) for task, cell in cells.items()},
                    "differences": {
                        task: asdict(found) for task, found in self.differences.get(arm.name, {}).items()
                    },
                    "mean_spreads": dict(self.mean_spreads.get(arm.name, {})),
                    "mean_by_seed": dict(self.mean_by_seed.get(arm.name, {})),
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
            "trained_with": arm.trained_with or "",
            "run": arm.run,
            "recipe": arm.recipe,
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
            "answers_each": cell.repetitions,
            **cell.repeated,
        }
        if self.baseline is None:
            return row
        found = self.differences.get(arm.name, {}).get(column.task)
        row["baseline"] = self.baseline
        for name in ("value", "low", "high", "p", "corrected", "detectable"):
            label = "difference" if name == "value" else f"difference_{name}"
            row[label] = getattr(found, name) if found else math.nan
        return row


def _moved(by_arm: Mapping[str, Value], names: Mapping[str, str]) -> dict[str, Value]:
    return {new: by_arm[old] for old, new in names.items() if old in by_arm}


def _cell_json(cell: Cell) -> dict[str, Any]:
    """A cell without its names, its estimate's fields first."""
    content = asdict(cell)
    del content["arm"], content["task"]
    return {**content.pop("estimate"), **content}
