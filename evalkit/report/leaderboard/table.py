"""The leaderboard CSV: one row per model, variant and protocol, updated in place.

Columns, in this order: ``schema``, ``model``, ``rope``, ``fingerprint``, ``protocol``, ``n``, ``label``,
``recipe``, ``evalkit``, ``date``, ``revisions``, ``tasks``, the means ``image``, ``video``, ``grounding``,
``overall``, then every task's primary score at full precision, sorted by name. Missing values are
empty. ``docs/leaderboard.md`` describes them.

A row has the scores of several runs of one checkpoint with one variant under one protocol; of two scores of
one task the later written one is kept. Its means are over its own tasks, which ``tasks`` lists with their
metric and number of samples; a mean is empty where one of them is incomplete.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from evalkit.config.recipes import PAPER
from evalkit.core.atomic_files import write_atomic
from evalkit.core.errors import UsageError, of_file
from evalkit.core.escapes import csv_table, csv_text
from evalkit.core.types import Category
from evalkit.core.validation import describe_validation_error
from evalkit.data.delimited import records
from evalkit.metrics.reasoning import TAGS
from evalkit.report.aggregate import CATEGORIES, unweighted
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.results import Results
from evalkit.store import Evaluation, exclusive

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 3  # of columns; raise it when their meaning changes. Schema 2 had no labels.
KEY = ("model", "rope", "fingerprint", "protocol")
TEXTS = (*KEY, "label", "recipe", "evalkit", "date", "revisions", "tasks")
_NUMBER = re.compile(r"(-?\d+(\.\d*)?(e[+-]?\d+)?)?", re.ASCII)
_Finite = Annotated[float, Field(allow_inf_nan=False)]
FIXED = ("schema", *KEY, "n", *TEXTS[len(KEY) :], *CATEGORIES, "overall")


@dataclass(frozen=True)
class LeaderboardSource:
    """The part of a run that one protocol covers, to be written as rows.

    ``protocol`` is ``full`` for all samples of each task, ``ci`` for their fixed subsets, and ``limit-N`` for
    the first N.
    """

    comparison: Comparison
    protocol: str
    version: str
    date: str
    revisions: Mapping[str, str]


def leaderboard_sources(results: Results) -> list[LeaderboardSource]:
    """The sources of a run, one for each arm and protocol."""
    groups: dict[tuple[str, str], list[Evaluation]] = {}
    for each in results.evaluations:
        groups.setdefault((each.arm, str(each.protocol)), []).append(each)
    found = []
    rule = results.manifest.scoring.reasoning
    scored = [] if rule == TAGS else [f"reasoning-{rule}"]
    for (_, protocol), evaluations in groups.items():
        last = max((results.manifest.latest(each.id) for each in evaluations), key=lambda each: each.started)
        found.append(
            LeaderboardSource(
                comparison=results.only(evaluations).comparison(),
                protocol=" ".join([protocol, *scored]),
                version=last.versions.get("evalkit", "unknown"),
                date=(last.finished or last.started)[:10],
                revisions={each.task.name: each.task.dataset.get("revision", "") for each in evaluations},
            )
        )
    return found


def with_given_labels(
    sources: Sequence[LeaderboardSource], labels: Mapping[str, str]
) -> list[LeaderboardSource]:
    """The sources with labels over those of their runs, by a checkpoint's name, variant or model.

    Raises:
        UsageError: a name is that of none, or of several checkpoints.
    """
    found = list(sources)
    for name, label in labels.items():
        places = [
            place
            for place, source in enumerate(found)
            if any(name in (arm.system, arm.name, arm.rope, arm.model) for arm in source.comparison.arms)
        ]
        owners = {arm.fingerprint for place in places for arm in found[place].comparison.arms}
        if len(owners) != 1:
            known = dict.fromkeys(arm.system for source in found for arm in source.comparison.arms)
            why = "several checkpoints go" if owners else "none goes"
            raise UsageError(
                f"label of `{name}`", f"{why} by that name; there are {', '.join(known)}", "name one of them"
            )
        for place in places:
            table = found[place].comparison
            arms = [replace(arm, label=label) for arm in table.arms]
            found[place] = replace(found[place], comparison=replace(table, arms=arms))
    return found


def leaderboard_rows(source: LeaderboardSource) -> list[dict[str, Any]]:
    """A row for each arm of a source."""
    return [with_means(_row(source, arm)) for arm in source.comparison.arms]


def write(target: Path, rows: Sequence[Mapping[str, Any]]) -> int:
    """Write ``rows`` into ``target`` and return how many rows it then has.

    A row is merged into the one with the same model, variant, checkpoint and protocol; writing the
    same rows twice changes nothing.

    Raises:
        UsageError: ``target`` exists and is no leaderboard of this schema.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(target.with_name(f".{target.name}.lock")):
        return _write(target, rows)


def _write(target: Path, rows: Sequence[Mapping[str, Any]]) -> int:
    import pandas as pd

    known = sound_rows(target) if target.exists() else []
    merged: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in (*known, *rows):
        key = tuple(str(row[name]) for name in KEY)
        merged[key] = _merged(merged[key], row) if key in merged else dict(row)
    table = pd.DataFrame([merged[key] for key in sorted(merged)])
    tasks = sorted(set(table.columns) - set(FIXED))
    write_atomic(target, csv_table(table.reindex(columns=[*FIXED, *tasks])))
    return len(table)


def read(target: Path) -> pd.DataFrame:
    """Read a leaderboard CSV with the types that :func:`write` gave it.

    Raises:
        UsageError: the file is no leaderboard of this schema.
    """
    import pandas as pd

    if not target.is_file():
        raise UsageError(f"leaderboard `{target}`", "it is no file", "give the name of a CSV file")
    try:
        table = pd.DataFrame(**_cells(target.read_bytes().decode("utf-8-sig", "surrogatepass")), dtype=str)
    except OSError as error:
        raise of_file(f"leaderboard `{target}`", error, "give a readable CSV file") from None
    except ValueError as error:
        raise UsageError(f"leaderboard `{target}`", str(error), "give another file, or delete it") from None
    _upgrade(table)
    if not set(FIXED) <= set(table.columns) or (table["schema"] != str(SCHEMA)).any():
        raise UsageError(
            f"leaderboard `{target}` has another schema",
            f"this evalkit writes schema {SCHEMA}",
            "give another file",
        )
    try:
        for name in table.columns:
            if name in ("schema", "n"):
                table[name] = [_whole(text) for text in table[name]]
            elif name in TEXTS:
                table[name] = [csv_text(text) for text in table[name]]
            else:  # Python's own reading is exact, that of pandas need not be
                table[name] = [_number(text) for text in table[name]]
    except ValueError as error:
        raise UsageError(f"leaderboard `{target}` is damaged", str(error), "mend or delete it") from None
    return table


def _upgrade(table: pd.DataFrame) -> None:
    """Add, in place, the columns that schema 2 lacked."""
    if "schema" in table.columns and (table["schema"] == "2").all():
        table["schema"], table["label"], table["recipe"] = str(SCHEMA), "", PAPER


def _cells(text: str) -> dict[str, Any]:
    """The cells and column names of a CSV text, as arguments of ``pandas.DataFrame``.

    Raises:
        ValueError: a name stands there twice, or a row has other cells than names.
    """
    found = records(text, ",")
    names = [csv_text(name) for name in (found[0][1] if found else [])]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise ValueError(f"column `{twice}` stands there twice")
    for line, cells in found[1:]:
        if len(cells) != len(names):
            raise ValueError(f"line {line} has {len(cells)} cells instead of {len(names)}")
    return {"data": [cells for _, cells in found[1:]], "columns": names}


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
        raise ValueError(f"{text[:40]!r} is no whole number")
    return int(text)


def _number(text: str) -> float:
    """A score; an empty cell is NaN."""
    number = float(text or "nan") if _NUMBER.fullmatch(text) else math.inf
    if math.isinf(number):
        raise ValueError(f"{text[:40]!r} is no finite number")
    return number


class _Described(BaseModel):
    """The description of a benchmark in the column ``tasks``."""

    model_config = ConfigDict(extra="forbid")

    category: Category
    row: str | None = None
    metric: str
    range: tuple[_Finite, _Finite]
    n: Annotated[int, Field(ge=0)]
    expected: Annotated[int, Field(ge=0)] | None
    unreliable: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _growing(self) -> Self:
        if not self.range[0] < self.range[1]:
            raise ValueError("its range has no width")
        return self


def sound_rows(target: Path) -> list[dict[str, Any]]:
    """The rows of a leaderboard, with the JSON in their cells checked.

    Raises:
        UsageError: the file is no leaderboard of this schema, or is damaged.
    """
    rows = [{str(name): value for name, value in row.items()} for row in read(target).to_dict("records")]
    for number, row in enumerate(rows, start=2):
        try:
            revisions = TypeAdapter(dict[str, str]).validate_json(row["revisions"], strict=True)
            described = TypeAdapter(dict[str, _Described]).validate_json(row["tasks"], strict=True)
            if set(revisions) != set(described):
                raise ValueError("its columns `tasks` and `revisions` are of other benchmarks")
            for task, found in described.items():
                if task in FIXED or (found.n and math.isnan(row.get(task, math.nan))):
                    raise ValueError(f"it lists `{task}`, and has no score of it")
        except ValueError as error:
            why = (
                ": ".join(describe_validation_error(error))
                if isinstance(error, ValidationError)
                else str(error)
            )
            raise UsageError(
                f"leaderboard `{target}` is damaged", f"row {number}: {why}", "mend or delete it"
            ) from None
    return rows


def _row(source: LeaderboardSource, arm: Arm) -> dict[str, Any]:
    cells = source.comparison.cells[arm.name]
    described = {}
    for column in source.comparison.columns:
        cell = cells.get(column.task)
        described[column.task] = {
            "category": column.category,
            "row": column.row or column.task,
            "metric": column.metric,
            "range": list(column.limits),
            "n": cell.estimate.n if cell else 0,
            "expected": cell.expected if cell else None,
            **({"unreliable": list(cell.unreliable)} if cell and cell.unreliable else {}),
        }
    return {
        "schema": SCHEMA,
        "model": arm.model,
        "rope": arm.rope,
        "fingerprint": arm.fingerprint,
        "protocol": source.protocol,
        "label": arm.label,
        "recipe": arm.recipe,
        "evalkit": source.version,
        "date": source.date,
        "revisions": _json({task: source.revisions.get(task, "") for task in described}),
        "tasks": _json(described),
        **{task: cell.estimate.value for task, cell in cells.items()},
    }


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """``new`` over ``old``, with the scores of tasks that only ``old`` has."""
    before, after = json.loads(old["tasks"]), json.loads(new["tasks"])
    taken = {task: found for task, found in after.items() if found["n"] or task not in before}
    kept = {task: found for task, found in before.items() if task not in taken}
    was, now = json.loads(old["revisions"]), json.loads(new["revisions"])
    revisions = {task: (now if task in taken else was)[task] for task in (*kept, *taken)}
    scores = {task: old.get(task) for task in kept}
    label = new["label"] or old["label"]
    return with_means(
        {**new, "label": label, **scores, "revisions": _json(revisions), "tasks": _json({**kept, **taken})}
    )


def with_means(row: Mapping[str, Any]) -> dict[str, Any]:
    """Add ``n`` and the means, which follow from the scores and ``tasks``."""
    tasks = json.loads(row["tasks"])
    shares: dict[str, dict[str, list[float | None]]] = {}
    for task, found in tasks.items():
        low, high = found["range"]
        whole = found["n"] == found["expected"]
        shared = shares.setdefault(found["category"], {}).setdefault(found.get("row", task), [])
        shared.append((row[task] - low) / (high - low) if whole else None)
    means: dict[str, float | None] = {
        category: unweighted([unweighted(found) for found in rows.values()])
        for category, rows in shares.items()
    }
    overall = unweighted(means.values())
    n = sum(found["n"] for found in tasks.values())
    return {**row, **{category: means.get(category) for category in CATEGORIES}, "overall": overall, "n": n}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
