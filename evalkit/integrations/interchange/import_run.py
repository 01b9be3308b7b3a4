"""``evalkit import``: answers that another program collected, stored as a run.

They are scored by the task's own metric, with the references of its data where these are at hand. The run's
manifest says which program asked, so that they are never taken for answers to evalkit's prompts.
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
BOX_SPACES = ("abs", "norm1000", "norm999", "norm1")


@dataclass(frozen=True)
class ImportSpec:
    """What to import, and as what.

    ``references`` are taken from the ``data``, from the ``file``, or (``auto``) from the data where they are
    on this machine. ``epoch`` chooses one of several. ``box_space`` says how boxes are written
    (:class:`evalkit.metrics.base.Answer`), in tasks that ask for them.
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

    def run_spec(self, output: str | None) -> RunSpec:
        """The options of the command as a manifest has them."""
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
    """Answers matched with a task's samples, before anything is stored.

    ``entry`` is the task's entry in a manifest, ``records`` are unscored, and ``keys`` has the keys of all
    samples, with and without an answer.
    """

    spec: ImportSpec
    task: Task
    system: SystemEntry
    entry: TaskEntry
    protocol: Protocol
    imported: Imported
    keys: Sequence[str]
    records: Sequence[Record]


def read_answers(spec: ImportSpec, rule: str = TAGS) -> ImportedAnswers:
    """Read files, and match their answers with the task's samples.

    ``rule`` separates reasoning from answers, for the comparison with the other program's scores.

    Raises:
        EvalkitError: a file can't be read, or is not about the task.
    """
    task = _task(spec)
    logs = read_results_files(spec.files)
    found = Matches()
    given = one_per_sample((answer for log in logs for answer in log.answers), spec.epoch, found)
    data = spec.references == "data" or (
        spec.references == "auto" and (spec.data_root is not None or not isinstance(task.dataset, HubDataset))
    )
    task = task.open(spec.data_root) if data else task
    found = match(task, given, spec.data_root, found) if data else from_file(task, given, found)
    system = _system_of(spec, logs[0])
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
        spec,
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


def store(answers: ImportedAnswers, run: RunDir) -> RunResult:
    """Write answers into a run, new or not, and score them; the same files again change nothing."""
    started = now()
    entry = Invocation(
        id=f"{started.replace(':', '').replace('-', '')[:15]}-{secrets.token_hex(3)}",
        command=provenance.command(sys.argv),
        started=started,
        spec=answers.spec.run_spec(str(run.path)),
        versions=provenance.versions(),
        hardware=provenance.hardware(),
        engine=IMPORTED,
    )
    with run.answer_locks([f"{answers.system.arm} {answers.task.name}"], entry.command, None):
        plan = run.write_plan(answers.keys)
        manifest = run.update(lambda known: _announced(known, answers, entry, plan), started)
        entry = manifest.invocation(entry.id)
        system = manifest.evaluations_of(entry.id)[0].arm
        stored = run.journal().records
        new = [replace(each, arm=system) for each in answers.records if each.key not in stored]
        if new:
            with run.writer() as journal:
                journal.append(new)
    return finalize(run, [answers.task], entry)


def _announced(manifest: Manifest, answers: ImportedAnswers, entry: Invocation, plan: str) -> Manifest:
    """The manifest with the evaluation of these answers, written before the answers are."""
    system = _named(answers.system, manifest)
    if system not in manifest.arms:
        manifest = manifest.with_systems([system])
    evaluation = Evaluation(
        id=len(manifest.evaluations),
        invocation=entry.id,
        arm=system.arm,
        task=answers.entry,
        protocol=answers.protocol,
        samples=len(answers.keys),
        plan=plan,
        tasks_dirs=answers.spec.tasks_dirs,
        imported=answers.imported,
    )
    known = next((each.id for each in manifest.evaluations if each.same(evaluation)), None)
    manifest = manifest.with_invocation(entry)
    if known is None:
        manifest = manifest.with_evaluations([evaluation])
    covered = evaluation.id if known is None else known
    return manifest.with_invocation(entry.model_copy(update={"evaluations": (covered,)}))


def _task(spec: ImportSpec) -> Task:
    if not spec.files:
        raise UsageError(
            "no file given", "an import needs one", "name the files that the other program wrote"
        )
    if not spec.model.strip():
        raise UsageError("`--model`", "the label is empty", "say which model gave the answers")
    task = load_task(spec.task, spec.tasks_dirs)
    task.check_declaration()
    if isinstance(task.metric, ExternalMetric):
        raise UsageError(f"task `{task.name}`", "another program scores it", "choose a task of evalkit's own")
    if task.category == "grounding" and spec.box_space is None:
        raise UsageError(
            f"task `{task.name}` without `--box-space`",
            "the file doesn't say in which units the model wrote its boxes",
            f"give `--box-space`: {', '.join(BOX_SPACES)}",
        )
    return task


def _system_of(spec: ImportSpec, log: ResultsFile) -> SystemEntry:
    """The manifest's entry of a model that another program ran; the same for all of its tasks."""
    rope = str(parse_rope_option(spec.rope)) if spec.rope else "unknown"
    identity = {
        "engine": IMPORTED,
        "program": log.source,
        "model there": log.model or "not said",
        "label": spec.model,
        "box space": spec.box_space or "not said",
    }
    return SystemEntry(
        arm=f"{spec.model}@{rope}" if spec.rope else spec.model,
        model=spec.model,
        rope=rope,
        family=IMPORTED,
        fingerprint=fingerprint_of({**identity, "rope": rope}),
        box_space=spec.box_space or "abs",
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
    """The whole task, unless references are the file's and it has another number of samples than the task."""
    part = f"imported-{count}" if count is not None and count != task.size else None
    return Protocol(subset=part, answered_by=log.source)


def _key(
    system: SystemEntry, task: Task, sample: Sample, answer: ForeignAnswer | None, hashes: Sequence[str]
) -> str:
    """The journal key of an answer: a hash over all that is stored of it, and the files that it is from."""
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
