"""The end of a run: records in order, scored and judged; submission files; the manifest's last word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalkit.bridges import lmms
from evalkit.errors import EvalkitError
from evalkit.metrics.base import ExternalMetric, Score
from evalkit.registry import load_task
from evalkit.scoring import score_records
from evalkit.store import Plan, Record, RunDir, planned
from evalkit.submissions import Entry, file_name
from evalkit.task import Task


@dataclass(frozen=True)
class Outcome:
    """Where a run is stored, its scored records, what is missing and what went wrong.

    ``unreadable`` counts journal lines that a kill tore or another version wrote; their samples
    count as missing until they are run again. ``submissions`` maps the files that were written for
    splits without public answers to where they go.
    """

    run: RunDir
    records: list[Record]
    missing: int
    unreadable: int = 0
    problems: list[EvalkitError] = field(default_factory=list)
    submissions: Mapping[Path, str] = field(default_factory=dict)


def rescore(run: RunDir, tasks_dirs: Sequence[str] = (), official_random: int | None = None) -> Outcome:
    """Score a stored run again from its journal: no model, data set or GPU is needed.

    ``official_random`` seeds the official scripts' random fallbacks; None leaves the run's own seed.
    """
    manifest = run.manifest()
    if official_random is not None:
        manifest = {**manifest, "spec": {**manifest["spec"], "official_random": official_random}}
    return finish(run, _tasks(manifest, tasks_dirs), run.plan(), manifest, [])


def finish(
    run: RunDir, tasks: Sequence[Task], plan: Plan, manifest: dict[str, Any], problems: list[EvalkitError]
) -> Outcome:
    """Score what the journal holds of a plan, and write the views of the run."""
    records, missing, unreadable = _scored(run, tasks, plan)
    failed = sum(record.failed for record in records)
    complete = not (missing or failed or problems or manifest["arms_to_come"])
    manifest = {**manifest, "status": "complete" if complete else "incomplete", "finished": now()}
    records, manifest = _judge(tasks, records, manifest)
    run.write_records(records)
    run.write_manifest(manifest)
    written = _submit(run, tasks, records) if complete else {}
    return Outcome(run, records, missing, unreadable, problems, written)


def scored_anew(run: RunDir) -> list[Record]:
    """A stored run's records, scored from its journal; nothing is written."""
    manifest = run.manifest()
    return _scored(run, _tasks(manifest, ()), run.plan())[0]


def _tasks(manifest: Mapping[str, Any], tasks_dirs: Sequence[str]) -> list[Task]:
    """The tasks of a run that evalkit itself scores."""
    names = [task["name"] for task in manifest["tasks"] if "figures" not in task]
    spec = manifest["spec"]
    folders = tuple(tasks_dirs) or tuple(spec["tasks_dirs"])
    foreign = {name for name in names if name.startswith(lmms.PREFIX)}
    return [
        task
        for name in names
        for task in (
            lmms.load(name, spec.get("lmms_python"), spec.get("lmms_include") or ())
            if name in foreign
            else [load_task(name, folders)]
        )
    ]


def _scored(run: RunDir, tasks: Sequence[Task], plan: Plan) -> tuple[list[Record], int, int]:
    """The records of a plan with their scores, how many are missing, and how many lines unreadable."""
    journal = run.journal()
    found, missing = planned(plan, journal.records)
    metrics = {task.name: task.metric for task in tasks}
    own = [record for record in found if record.task in metrics]
    # What another program has scored stays as it is stored: it may not be there any more.
    stored = {(each.arm, each.key): each for each in run.records()} if len(own) < len(found) else {}
    scored = {(each.arm, each.key): each for each in score_records(own, metrics)}
    places = [(record.arm, record.key) for record in found]
    records = [
        scored.get(place) or stored.get(place) or _unjudged(record)
        for place, record in zip(places, found, strict=True)
    ]
    return records, missing, journal.unreadable


def _unjudged(record: Record) -> Record:
    """An answer to a task of another program, which was stopped before it judged it."""
    why = "the run was stopped before its answer was judged: give the run's command again"
    error = record.error if record.failed else why
    return replace(record, finish_reason="error", error=error, score=Score(None), flags=("error",))


def _judge(
    tasks: Sequence[Task], records: list[Record], manifest: dict[str, Any]
) -> tuple[list[Record], dict[str, Any]]:
    """Have answers judged that another program scores; its figures go into the manifest."""
    described = {task["name"]: dict(task) for task in manifest["tasks"]}
    judged: dict[tuple[str, str], Score] = {}
    for task in tasks:
        if not isinstance(task.metric, ExternalMetric):
            continue
        entry = described[task.name]
        entry |= {"figures": {}, "scored_by": task.metric.scored_by}
        for arm in dict.fromkeys(record.arm for record in records):
            own = [each for each in records if (each.arm, each.task) == (arm, task.name) and not each.failed]
            if own:
                found = task.metric.judge([record.answer() for record in own])
                judged |= {(arm, each.key): score for each, score in zip(own, found.scores, strict=True)}
                entry["figures"][arm] = dict(found.figures)
                entry["metric"] = found.primary
        primary = [
            figures[entry["metric"]] for figures in entry["figures"].values() if entry["metric"] in figures
        ]
        entry["range"] = list(lmms.limits_of(primary))
    updated = [
        replace(record, score=judged[record.arm, record.key])
        if (record.arm, record.key) in judged
        else record
        for record in records
    ]
    return updated, {**manifest, "tasks": list(described.values())}


def _submit(run: RunDir, tasks: Sequence[Task], records: Sequence[Record]) -> dict[Path, str]:
    """Write the submission file of every arm and task without public answers."""
    answers: dict[tuple[str, str], list[Entry]] = {}
    for record in records:
        question, options = record.meta.get("question", ""), record.meta.get("options", {})
        entry = Entry(record.sample_id, record.raw.strip(), question, options, record.labels)
        answers.setdefault((record.arm, record.task), []).append(entry)
    written = {}
    for task in tasks:
        for (arm, name), entries in answers.items():
            if task.submission is not None and name == task.name:
                file = file_name(name, arm, task.submission.suffix)
                path = run.write_submission(file, task.submission.write(entries))
                written[path] = task.submission.to
    return written


def now() -> str:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
