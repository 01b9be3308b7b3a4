"""Check a leaderboard against its runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.report.aggregate import CATEGORIES
from evalkit.report.leaderboard.table import FIXED, KEY, read, with_means


def unsupported(target: Path, evidence: Sequence[Mapping[str, Any]]) -> list[str]:
    """The claims of a leaderboard that its runs don't support, a sentence each.

    ``evidence`` are the rows of the runs, scored anew. Every score must be that of a run of the same
    checkpoint, variant and protocol, with the same metric, samples and revision of the data; and every mean
    must follow from the scores of its row.

    Raises:
        UsageError: ``target`` is no leaderboard of this schema.
    """
    problems: list[str] = []
    seen: set[tuple[str, ...]] = set()
    for number, found in enumerate(read(target).to_dict("records"), start=2):
        row = {str(name): value for name, value in found.items()}
        key = tuple(str(row[name]) for name in KEY)
        where = f"line {number}, {row['model']}@{row['rope']} ({row['protocol']})"
        if key in seen:
            problems.append(f"{where}: an earlier line has the same model, variant, checkpoint and protocol")
        seen.add(key)
        own = [each for each in evidence if tuple(str(each[name]) for name in KEY) == key]
        if not own:
            problems.append(f"{where}: {_nearest(row, evidence)}")
            continue
        problems += [f"{where}: {problem}" for problem in _row_problems(row, own)]
    return problems


def _nearest(row: Mapping[str, Any], evidence: Sequence[Mapping[str, Any]]) -> str:
    """Why no run supports any of a row."""
    named = [each for each in evidence if (each["model"], each["rope"]) == (row["model"], row["rope"])]
    for field in ("protocol", "fingerprint"):
        known = sorted({str(each[field]) for each in named})
        if named and str(row[field]) not in known:
            return f"the runs of this model and variant have {field} {', '.join(known)}, not {row[field]}"
    return "none of the runs has this model and variant"


def _row_problems(row: Mapping[str, Any], evidence: Sequence[Mapping[str, Any]]) -> list[str]:
    try:
        described, revisions = json.loads(row["tasks"]), json.loads(row["revisions"])
        derived = with_means(row)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"`tasks` or `revisions` is damaged ({error!r})"]
    scored = [name for name in row if name not in FIXED and not math.isnan(row[name])]
    problems = [f"{task} has a score but isn't listed in `tasks`" for task in scored if task not in described]
    for task, found in described.items():
        problem = _task_problem(task, (row.get(task), found, revisions.get(task)), evidence)
        if problem:
            problems.append(problem)
    problems += [
        f"{name} is {row[name]}, but {derived[name]} follows from the scores"
        for name in ("n", *CATEGORIES, "overall")
        if not _same(row[name], derived[name])
    ]
    versions = {(each["evalkit"], each["date"]) for each in evidence}
    if (row["evalkit"], row["date"]) not in versions:
        problems.append(f"no run is of evalkit {row['evalkit']} and {row['date']}")
    return problems


def _task_problem(
    task: str, claimed: tuple[Any, Any, Any], evidence: Sequence[Mapping[str, Any]]
) -> str | None:
    """Why no run supports a row's ``(score, description, revision)`` of a task; None if one does."""
    known = [
        (each.get(task), json.loads(each["tasks"])[task], json.loads(each["revisions"]).get(task))
        for each in evidence
        if task in json.loads(each["tasks"])
    ]
    names = ("score", "description", "revision")
    for found in known:
        differing = [
            f"{name} {there} instead of {here}"
            for name, here, there in zip(names, claimed, found, strict=True)
            if not _same(here, there)
        ]
        if not differing:
            return None
    return f"the runs have for {task}: {', '.join(differing)}" if known else f"none of the runs has {task}"


def _same(first: Any, second: Any) -> bool:
    """Exact equality; missing scores (None, or NaN out of a CSV) are equal."""

    def missing(value: Any) -> bool:
        return value is None or (isinstance(value, float) and math.isnan(value))

    return bool(first == second) or (missing(first) and missing(second))
