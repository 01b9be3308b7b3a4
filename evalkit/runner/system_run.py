"""The systems of a run while it goes on: planned, answered, and stored batch by batch."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from evalkit.config.run_spec import RunSpec
from evalkit.core.console import scrub
from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.core.task import Task
from evalkit.core.types import Request, Response
from evalkit.data.selection import IndexedSample
from evalkit.engine.audit import audit
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import Executor
from evalkit.engine.optimizations import Optimizations
from evalkit.models.base import ModelInfo, fingerprint_of
from evalkit.models.checkpoints.source import short_name
from evalkit.runner.reporter import Reporter
from evalkit.runner.requests import build_request
from evalkit.store import (
    Audit,
    Evaluation,
    Invocation,
    Manifest,
    Protocol,
    Record,
    RunDir,
    Scoring,
    SystemEntry,
    TaskEntry,
)


def system_name(model: ModelInfo) -> str:
    """``model@variant``, without secrets; a local checkpoint goes by its folder's name."""
    return scrub(f"{short_name(model.name)}@{model.variant}")


@dataclass(frozen=True)
class _PlannedRequest:
    request: Request
    task: Task
    indexed: IndexedSample

    @property
    def problem(self) -> str | None:
        """Why it can't be asked."""
        return self.indexed.sample.problem


@dataclass(frozen=True)
class PlannedSystem:
    """A checkpoint with a variant, and what it is asked, by key."""

    model_info: ModelInfo
    requests: Mapping[str, _PlannedRequest]

    @property
    def name(self) -> str:
        """Its name as long as no other system of the run has it."""
        return system_name(self.model_info)

    def lock_names(self, keys: Container[str]) -> list[str]:
        """What nobody else may answer meanwhile: its tasks with any of these keys left."""
        tasks = dict.fromkeys(job.task.name for key, job in self.requests.items() if key in keys)
        return [f"{self.name}#{self.model_info.fingerprint[:6]} {task}" for task in tasks]


@dataclass(frozen=True)
class _RegisteredSystem:
    """A planned system under the name that it has in the run."""

    name: str
    model_info: ModelInfo
    requests: Mapping[str, _PlannedRequest]


@dataclass
class SystemRun:
    """What one command does to a run. ``entry`` is what it writes of itself into the manifest, ``digests``
    are those of the samples' media, by path.
    """

    spec: RunSpec
    tasks: Sequence[Task]
    entries: Mapping[str, TaskEntry]
    samples: Mapping[str, list[IndexedSample]]
    run: RunDir
    entry: Invocation
    reporter: Reporter
    digests: Mapping[str, str] = field(default_factory=dict)
    registered: dict[str, SystemEntry] = field(default_factory=dict)

    def plan(self, model_info: ModelInfo) -> PlannedSystem:
        """Everything that a system is asked."""
        jobs = [
            _PlannedRequest(
                build_request(
                    model_info, task, indexed.sample, mc_logits=self.spec.mc_logits, digests=self.digests
                ),
                task,
                indexed,
            )
            for task in self.tasks
            for indexed in self.samples[task.name]
        ]
        return PlannedSystem(model_info, {job.request.key: job for job in jobs})

    def pending_keys(self, system: PlannedSystem, records: Mapping[str, Record]) -> set[str]:
        """Keys that have no answer among the stored records yet, or whose answer is to be audited; what can't
        be asked is no work.
        """
        limit = self.spec.audit or 0.0
        return {
            key
            for key, job in system.requests.items()
            if not job.problem
            and (key not in records or records[key].failed or _margin_below(records[key].margin, limit))
        }

    def register(self, systems: Sequence[PlannedSystem]) -> list[_RegisteredSystem]:
        """Write down what systems are and which requests they answer, before they do."""
        if self.registered:
            self.run.check_there()
        plans = [
            {name: self.run.write_plan(keys) for name, keys in self._keys_by_task(system).items()}
            for system in systems
        ]
        found: list[_RegisteredSystem] = []

        def change(manifest: Manifest) -> Manifest:
            manifest = manifest.with_scoring(scoring_of(self.spec, manifest))
            for system, planned in zip(systems, plans, strict=True):
                entry = self._entry(system.model_info, manifest)
                if entry.arm not in {each.arm for each in manifest.arms}:
                    manifest = manifest.with_systems([entry])
                found.append(_RegisteredSystem(entry.arm, system.model_info, system.requests))
                self.registered[entry.arm] = entry
                manifest = self._with_evaluations(manifest, entry.arm, planned)
            return manifest

        self.run.update(change, self.entry.started)
        self._store_unaskable(found)
        return found

    def _store_unaskable(self, systems: Sequence[_RegisteredSystem]) -> None:
        """Rows that can't be asked are errors, stored once."""
        refused = {
            key: _record(system, Response(key, "", (), "error", error=job.problem))
            for system in systems
            for key, job in system.requests.items()
            if job.problem
        }
        stored = self.run.journal().records if refused else {}
        new = [record for key, record in refused.items() if key not in stored]
        if new:
            with self.run.writer() as journal:
                journal.append(new)

    def answer(self, executor: Executor, systems: Sequence[_RegisteredSystem]) -> None:
        """Have the systems that an executor has loaded answer what the store doesn't hold yet, and store it."""
        records = self.run.journal().records
        answered = {key for key, record in records.items() if not record.failed}
        settled = answered | {
            key for system in systems for key, job in system.requests.items() if job.problem
        }
        for system in systems:
            if system.model_info.compile_seconds:
                self.reporter.note(f"{system.name}: compiled in {system.model_info.compile_seconds:.1f} s")
            self.reporter.system_started(
                system.name, _count(system.requests), _count(system.requests, settled)
            )
        left = [
            [job.request for key, job in system.requests.items() if key not in answered and not job.problem]
            for system in systems
        ]
        answers = executor.generate(left, engine_config_of(self.spec, executor))
        with self.run.writer() as journal, closing(answers) as batches:
            for number, responses in batches:
                stored = [_record(systems[number], response) for response in responses]
                journal.append(stored)
                for record in stored:
                    self.reporter.sample_answered(record.arm, record.task, record.failed)
        if self.spec.audit is not None:
            self._audit(executor, systems, self.spec.audit)
        for system in systems:
            self.reporter.system_finished(system.name)

    def _audit(self, executor: Executor, systems: Sequence[_RegisteredSystem], margin: float) -> None:
        """Note in the manifest which of the closest calls come out differently alone."""
        records = self.run.journal().records
        close = [
            {
                key: records[key]
                for key in system.requests
                if key in records and _margin_below(records[key].margin, margin)
            }
            for system in systems
        ]
        found = audit(
            executor,
            [
                {key: system.requests[key].request for key in own}
                for system, own in zip(systems, close, strict=True)
            ],
            [{key: record.token_ids for key, record in own.items()} for own in close],
            engine_config_of(self.spec, executor),
        )
        audits = dict(self.entry.audits)
        for system, own, audited in zip(systems, close, found, strict=True):
            names = tuple(f"{own[key].task}/{own[key].sample_id}" for key in audited.different)
            audits[system.name] = Audit(margin=margin, repeated=len(audited.repeated), different=names)
        self.entry = self.entry.model_copy(update={"audits": audits})
        self.run.update(lambda manifest: manifest.with_invocation(self.entry), self.entry.started)

    def _keys_by_task(self, system: PlannedSystem) -> dict[str, list[str]]:
        keys: dict[str, list[str]] = {task.name: [] for task in self.tasks}
        for key, job in system.requests.items():
            keys[job.task.name].append(key)
        return keys

    def _entry(self, model_info: ModelInfo, manifest: Manifest) -> SystemEntry:
        """What the manifest says of a system. Another checkpoint, or the same under other conditions, has a
        name of its own, with some of its hash: their answers are never mixed.
        """
        fingerprint, identity = self._identity(model_info)
        name = system_name(model_info)
        of_name = {each.arm: each for each in manifest.arms}
        for known in (each for each in manifest.arms if each.arm not in self.registered):
            same = (known.fingerprint, known.rope) == (fingerprint, str(model_info.variant))
            if same and re.sub(r"#[0-9a-f]{6}(-\d+)?$", "", known.arm) == name:
                return known
        if name in of_name:
            other, number = of_name[name], 1
            name = f"{name}#{fingerprint[:6]}"
            while name in of_name:
                number += 1
                name = f"{system_name(model_info)}#{fingerprint[:6]}-{number}"
            if other.arm not in self.registered:
                self.reporter.note(f"{name} is kept apart from {other.arm}: {_differing(other, identity)}")
        return SystemEntry(
            arm=name,
            model=model_info.name,
            rope=str(model_info.variant),
            family=model_info.family,
            fingerprint=fingerprint,
            box_space=model_info.box_space,
            identity=dict(identity),
            revision=model_info.revision,
            notes=tuple(model_info.notes),
        )

    def _identity(self, model_info: ModelInfo) -> tuple[str, Mapping[str, str]]:
        """A checkpoint's, and how options are chosen."""
        if not self.spec.mc_logits:
            return model_info.fingerprint, model_info.identity
        identity = {**model_info.identity, "options": "chosen by their letters' logits"}
        return fingerprint_of(identity), identity

    def _with_evaluations(self, manifest: Manifest, system: str, plans: Mapping[str, str]) -> Manifest:
        """Add a system's evaluations, and to this command's entry that it covers them."""
        covered = []
        manifest = manifest.with_invocation(self.entry)
        for name, plan in plans.items():
            entry = Evaluation(
                id=len(manifest.evaluations),
                invocation=self.entry.id,
                arm=system,
                task=self.entries[name],
                protocol=protocol_of(self.spec),
                samples=len(self.samples[name]),
                plan=plan,
                tasks_dirs=self.spec.tasks_dirs,
            )
            known = next((each for each in manifest.evaluations if each.same(entry)), None)
            if known is None:
                manifest = manifest.with_evaluations([entry])
            covered.append(entry.id if known is None else known.id)
        evaluations = tuple(dict.fromkeys((*self.entry.evaluations, *covered)))
        self.entry = self.entry.model_copy(update={"evaluations": evaluations})
        return manifest.with_invocation(self.entry)


def protocol_of(spec: RunSpec) -> Protocol:
    """Which samples a command asks, and how."""
    return Protocol(
        limit=spec.limit,
        subset=spec.subset,
        max_frames=spec.max_frames,
        visual_tokens=spec.visual_tokens,
        mc_logits=spec.mc_logits,
    )


def scoring_of(spec: RunSpec, manifest: Manifest) -> Scoring:
    """How a run is scored into which a command writes: in one way for all of it. Limits on rates change no
    score, and are those that were given last.

    Raises:
        UsageError: it is scored already, and the command says otherwise.
    """
    asked = spec.given_options()
    given = {name: asked[name] for name in Scoring.model_fields if asked.get(name) not in (None, {})}
    stored = manifest.scoring
    for name in given if manifest.evaluations else ():
        if name != "rate_limits" and given[name] != getattr(stored, name):
            option, known = f"--{name.replace('_', '-')}", getattr(stored, name)
            known = "none" if known is None else known
            raise UsageError(
                f"`{option} {given[name]}`",
                f"this run was scored with {known}, and a run is scored in one way",
                f"score all of it anew (`evalkit score RUN {option} ...`), or choose another `--output`",
            )
    return stored.model_copy(update=given)


def check_unchanged(planned: Iterable[PlannedSystem], loaded: Iterable[ModelInfo]) -> None:
    """Refuse to store answers of a checkpoint that was replaced after its requests were named.

    Raises:
        EnvironmentProblem: names the checkpoint.
    """
    for system, model_info in zip(planned, loaded, strict=False):
        if system.model_info.fingerprint != model_info.fingerprint:
            raise EnvironmentProblem(
                f"checkpoint `{model_info.name}` was changed while this command ran",
                "its files are not those that its answers would be stored for",
                "give the command again when the checkpoint is complete",
            )


def _differing(known: SystemEntry, identity: Mapping[str, str]) -> str:
    """In what a system differs from a stored one of the same name."""
    names = [
        name for name in {**known.identity, **identity} if known.identity.get(name) != identity.get(name)
    ]
    if not known.identity:
        return "an earlier version of evalkit stored it"
    shown = [
        f"{name} ({_short(known.identity.get(name))} there, {_short(identity.get(name))} here)"
        for name in names
    ]
    return f"they differ in {', '.join(shown)}" if shown else "they are copies"


def _short(value: str | None) -> str:
    if value is None:
        return "none"
    return value if len(value) <= 40 else f"{value[:12]}..."


def engine_config_of(spec: RunSpec, executor: Executor) -> EngineConfig:
    """How the engines are to work. One core of each is left to the model; more than 14 workers are faster than
    any model needs.
    """
    workers = max(1, min(int(executor.cores) - 1, 14)) if spec.workers is None else spec.workers
    return EngineConfig(
        workers=workers,
        batch_tokens=spec.batch_tokens,
        batch_size=spec.batch_size,
        optimizations=Optimizations.without(*spec.without),
        media_seconds=spec.media_timeout,
    )


def _margin_below(margin: float | None, limit: float) -> bool:
    return margin is not None and margin < limit


def _count(requests: Mapping[str, _PlannedRequest], among: Container[str] | None = None) -> dict[str, int]:
    """Requests of each task, all or only those whose key is in ``among``."""
    found = {job.task.name: 0 for job in requests.values()}
    for key, job in requests.items():
        found[job.task.name] += among is None or key in among
    return found


def _record(system: _RegisteredSystem, response: Response) -> Record:
    job = system.requests[response.key]
    task, indexed, request = job.task, job.indexed, job.request
    return Record(
        arm=system.name,
        model=scrub(system.model_info.name),
        rope=str(system.model_info.variant),
        task=task.name,
        sample_id=indexed.sample.id,
        index=indexed.index,
        key=request.key,
        cluster_id=indexed.sample.cluster_id,
        prompt=response.prompt or request.prompt,
        reference=indexed.sample.reference,
        raw=response.text,
        finish_reason=response.finish_reason,
        error=None if response.error is None else scrub(response.error),
        token_ids=response.token_ids,
        prompt_tokens=response.prompt_tokens,
        visual_tokens=response.visual_tokens,
        groups=indexed.sample.groups,
        meta=indexed.sample.meta,
        box_space=system.model_info.box_space,
        media=response.media,
        seconds=response.seconds,
        margin=response.margin,
    )
