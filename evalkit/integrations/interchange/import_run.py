"""``evalkit import``: answers that another program got, as a run of evalkit's.

They are scored by our metric, with our data's references where the data are at hand. The run says where they
come from, so that they are never taken for answers to evalkit's own questions.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.config.run_spec import RunSpec, parse_rope_option
from evalkit.core import provenance
from evalkit.core.errors import UsageError
from evalkit.core.registry import load_task
from evalkit.core.task import Task
from evalkit.core.types import Sample
from evalkit.data.hub import HubDataset
from evalkit.data.selection import IndexedSample
from evalkit.integrations.interchange.answers import ForeignAnswer, ResultsFile
from evalkit.integrations.interchange.detect import read_results_files
from evalkit.integrations.interchange.matching import Matches, match, match_notes, one_per_sample
from evalkit.integrations.interchange.references import from_file
from evalkit.metrics.base import ExternalMetric
from evalkit.metrics.reasoning import TAGS
from evalkit.models.base import fingerprint_of
from evalkit.runner.manifest_entries import task_entry
from evalkit.scoring.finalize import RunResult, finalize, now
from evalkit.scoring.score import score_records
from evalkit.store import (
    IMPORTED,
    Evaluation,
    Imported,
    Invocation,
    Manifest,
    Protocol,
    Record,
    RunDir,
    SystemEntry,
    TaskEntry,
)

KEY_VERSION = 1
REFERENCES = ("auto", "data", "file")
BOX_SPACES = ("abs", "norm1000", "norm999", "norm1")


@dataclass(frozen=True)
class ImportSpec:
    """What to import. ``references``: from the ``data``, from the ``file``, or (``auto``) from the data where
    they are on this machine. ``epoch`` is the one to take of several. ``box_space`` says how boxes are
    written (:class:`evalkit.metrics.base.Answer`), in tasks that ask for them.
    """

    files: Sequence[Path]
    task: str
    model: str
    rope: str | None = None
    tasks_dirs: tuple[str, ...] = ()
    data_root: str | None = None
    references: str = "auto"
    epoch: int | None = None
    box_space: str | None = None

    def spec(self, output: str | None) -> RunSpec:
        """What stands in the manifest for the command."""
        return RunSpec(
            models=[self.model],
            tasks=[self.task],
            ropes=[self.rope] if self.rope else [],
            tasks_dirs=self.tasks_dirs,
            data_root=self.data_root,
            output=output,
        )


@dataclass(frozen=True)
class ImportedAnswers:
    """Answers with what they are answers to; nothing of it is stored yet. ``entry`` is what a manifest says
    of the task, ``records`` are unscored, and ``keys`` has those of all samples, also of ones without an
    answer.
    """

    order: ImportSpec
    task: Task
    system: SystemEntry
    entry: TaskEntry
    protocol: Protocol
    imported: Imported
    keys: Sequence[str]
    records: Sequence[Record]


def read_answers(order: ImportSpec, rule: str = TAGS) -> ImportedAnswers:
    """Read files, and match their answers with the task's samples; ``rule`` separates reasoning from answers,
    for the comparison of scores.

    Raises:
        EvalkitError: a file can't be read, or is not about the task.
    """
    task = _task(order)
    logs = read_results_files(order.files)
    found = Matches()
    answers = one_per_sample((answer for log in logs for answer in log.answers), order.epoch, found)
    data = order.references == "data" or (
        order.references == "auto"
        and (order.data_root is not None or not isinstance(task.dataset, HubDataset))
    )
    task = task.open(order.data_root) if data else task
    found = match(task, answers, order.data_root, found) if data else from_file(task, answers, found)
    system = _system_of(order, logs[0])
    hashes = [log.sha256 for log in logs]
    keys, records = [], []
    for indexed in found.samples:
        answer = found.answers.get(indexed.sample.id)
        keys.append(_key(system, task, indexed.sample, answer, hashes))
        if answer or indexed.sample.problem:
            records.append(_record(system, task, indexed, answer, keys[-1]))
    notes = [*match_notes(found), *dict.fromkeys(note for log in logs for note in log.notes)]
    if not data:
        notes.append(
            "references, questions and options are the file's own, not checked against the data; which "
            "questions share an image is not known: intervals take them for independent"
        )
    scored = score_records(records, {task.name: task.metric}, rule)
    notes += _score_disagreements(scored, task.metric.name)
    return ImportedAnswers(
        order,
        task,
        system,
        _entry(task, found.samples, data),
        _protocol(task, logs[0], None if data else len(found.samples)),
        Imported(
            source=logs[0].source,
            task=logs[0].task,
            model=logs[0].model,
            files=tuple(f"{log.path.name} sha256:{each}" for log, each in zip(logs, hashes, strict=True)),
            references="data" if data else "file",
            notes=tuple(notes),
        ),
        keys,
        records,
    )


def store(imported_answers: ImportedAnswers, run: RunDir) -> RunResult:
    """Write answers into a new run, or beside what a run has already, and score them; the same files again
    change nothing.
    """
    order, started = imported_answers.order, now()
    entry = Invocation(
        id=f"{started.replace(':', '').replace('-', '')[:15]}-{secrets.token_hex(3)}",
        command=provenance.command(sys.argv),
        started=started,
        spec=order.spec(str(run.path)),
        versions=provenance.versions(),
        hardware=provenance.hardware(),
        engine=IMPORTED,
    )
    with run.answer_locks(
        [f"{imported_answers.system.arm} {imported_answers.task.name}"], entry.command, None
    ):
        plan = run.write_plan(imported_answers.keys)
        manifest = run.update(lambda known: _announced(known, imported_answers, entry, plan), started)
        entry = manifest.invocation(entry.id)
        system = manifest.evaluations_of(entry.id)[0].arm
        stored = run.journal().records
        new = [replace(each, arm=system) for each in imported_answers.records if each.key not in stored]
        if new:
            with run.writer() as journal:
                journal.append(new)
    return finalize(run, [imported_answers.task], entry)


def _announced(
    manifest: Manifest, imported_answers: ImportedAnswers, entry: Invocation, plan: str
) -> Manifest:
    """A manifest that says what is imported, before it is."""
    system = _named(imported_answers.system, manifest)
    if system not in manifest.arms:
        manifest = manifest.with_systems([system])
    evaluation = Evaluation(
        id=len(manifest.evaluations),
        invocation=entry.id,
        arm=system.arm,
        task=imported_answers.entry,
        protocol=imported_answers.protocol,
        samples=len(imported_answers.keys),
        plan=plan,
        tasks_dirs=imported_answers.order.tasks_dirs,
        imported=imported_answers.imported,
    )
    known = next((each.id for each in manifest.evaluations if each.same(evaluation)), None)
    manifest = manifest.with_invocation(entry)
    if known is None:
        manifest = manifest.with_evaluations([evaluation])
    covered = evaluation.id if known is None else known
    return manifest.with_invocation(entry.model_copy(update={"evaluations": (covered,)}))


def _task(order: ImportSpec) -> Task:
    if not order.files:
        raise UsageError(
            "no file given", "an import needs one", "name the files that the other program wrote"
        )
    if not order.model.strip():
        raise UsageError("`--model`", "the label is empty", "say which model gave the answers")
    task = load_task(order.task, order.tasks_dirs)
    task.check_declaration()
    if isinstance(task.metric, ExternalMetric):
        raise UsageError(f"task `{task.name}`", "another program scores it", "choose a task of evalkit's own")
    if task.category == "grounding" and order.box_space is None:
        raise UsageError(
            f"task `{task.name}` without `--box-space`",
            "the file doesn't say in which units the model wrote its boxes",
            f"give `--box-space`: {', '.join(BOX_SPACES)}",
        )
    return task


def _system_of(order: ImportSpec, log: ResultsFile) -> SystemEntry:
    """The model as one that another program ran: it is the same for all of its tasks."""
    rope = str(parse_rope_option(order.rope)) if order.rope else "unknown"
    identity = {
        "engine": IMPORTED,
        "program": log.source,
        "model there": log.model or "not said",
        "label": order.model,
        "box space": order.box_space or "not said",
    }
    return SystemEntry(
        arm=f"{order.model}@{rope}" if order.rope else order.model,
        model=order.model,
        rope=rope,
        family=IMPORTED,
        fingerprint=fingerprint_of({**identity, "rope": rope}),
        box_space=order.box_space or "abs",
        identity=identity,
        notes=(f"{log.source} asked it and stored its answers",),
    )


def _named(system: SystemEntry, manifest: Manifest) -> SystemEntry:
    """The system under a name that no other system of the run has."""
    for known in manifest.arms:
        if known.fingerprint == system.fingerprint and known.family == IMPORTED:
            return known
    taken = {each.arm for each in manifest.arms}
    name, number = system.arm, 1
    while name in taken:
        name = f"{system.arm}#{system.fingerprint[:6]}" + (f"-{number}" if number > 1 else "")
        number += 1
    return system.model_copy(update={"arm": name})


def _entry(task: Task, samples: Sequence[IndexedSample], data: bool) -> TaskEntry:
    found = task_entry(task, samples, mc_logits=False)
    return (
        found if data else found.model_copy(update={"dataset": {**found.dataset, "references": "the file"}})
    )


def _protocol(task: Task, log: ResultsFile, count: int | None) -> Protocol:
    """All samples of the data; of a file alone, all only if they are as many as the task has."""
    part = f"imported-{count}" if count is not None and count != task.size else None
    return Protocol(subset=part, answered_by=log.source)


def _key(
    system: SystemEntry, task: Task, sample: Sample, answer: ForeignAnswer | None, hashes: Sequence[str]
) -> str:
    """The name of an answer: by everything that is stored of it, and the files that it is from."""
    identity: list[Any] = [
        IMPORTED,
        KEY_VERSION,
        system.fingerprint,
        task.name,
        sample.id,
        list(hashes),
        [answer.text, answer.problem, answer.cut, answer.figures] if answer else None,
        [sample.reference, sample.cluster_id, sample.groups, sample.meta, sample.problem],
    ]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _record(
    system: SystemEntry, task: Task, indexed: IndexedSample, answer: ForeignAnswer | None, key: str
) -> Record:
    sample = indexed.sample
    problem = sample.problem or (answer.problem if answer else None)
    there = {"id": answer.id, "where": answer.where, "scores": dict(answer.figures)} if answer else {}
    return Record(
        arm=system.arm,
        model=system.model,
        rope=system.rope,
        task=task.name,
        sample_id=sample.id,
        index=indexed.index,
        key=key,
        cluster_id=sample.cluster_id,
        prompt=(answer.prompt or answer.question) if answer else "",
        reference=sample.reference,
        raw="" if problem or answer is None else answer.text,
        finish_reason="error" if problem else "length" if answer and answer.cut else "stop",
        error=problem,
        groups=sample.groups,
        meta={**sample.meta, "imported": there},
        box_space=system.box_space,
    )


def _score_disagreements(records: Sequence[Record], ours: str) -> list[str]:
    """How often the other program's own scores differ from ours, by name."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        if record.score is not None and record.score.value is not None:
            for name, value in record.meta["imported"].get("scores", {}).items():
                pairs.setdefault(name, []).append((value, record.score.value))
    lines = []
    for name, values in pairs.items():
        different = sum(abs(theirs - own) > 1e-6 for theirs, own in values)
        there, here = (sum(column) / len(values) for column in zip(*values, strict=True))
        lines.append(
            f"its own `{name}` differs from our {ours} in {different} of {len(values)} answers "
            f"(mean {there:.4f} there, {here:.4f} here)"
        )
    return lines
