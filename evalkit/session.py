"""The arms of a run while it goes on: planned, answered, and stored batch by batch."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from evalkit.engine.audit import audit
from evalkit.engine.executors.base import Executor
from evalkit.engine.run import Settings
from evalkit.engine.techniques import Techniques
from evalkit.errors import EnvironmentProblem, UsageError
from evalkit.models.base import Card, fingerprint_of
from evalkit.models.source import short_name
from evalkit.reporter import Reporter
from evalkit.requests import Indexed, build_request
from evalkit.shown import scrub
from evalkit.spec import RunSpec
from evalkit.store import (
    ArmEntry,
    Audit,
    Evaluation,
    Invocation,
    Manifest,
    Protocol,
    Record,
    RunDir,
    Scoring,
    TaskEntry,
)
from evalkit.task import Task
from evalkit.types import Request, Response


def arm_name(model: Card) -> str:
    """``model@variant``, without secrets; a local checkpoint goes by its folder's name."""
    return scrub(f"{short_name(model.name)}@{model.variant}")


@dataclass(frozen=True)
class _Job:
    request: Request
    task: Task
    indexed: Indexed

    @property
    def problem(self) -> str | None:
        """Why it can't be asked."""
        return self.indexed.sample.problem


@dataclass(frozen=True)
class PlannedArm:
    """A checkpoint with a variant, and what it is asked, by key."""

    card: Card
    work: Mapping[str, _Job]

    @property
    def name(self) -> str:
        """Its name as long as no other arm of the run has it."""
        return arm_name(self.card)

    def leases(self, keys: Container[str]) -> list[str]:
        """What nobody else may answer meanwhile: its tasks with any of these keys left."""
        tasks = dict.fromkeys(job.task.name for key, job in self.work.items() if key in keys)
        return [f"{self.name}#{self.card.fingerprint[:6]} {task}" for task in tasks]


@dataclass(frozen=True)
class _Arm:
    """A planned arm under the name that it has in the run."""

    name: str
    card: Card
    work: Mapping[str, _Job]


@dataclass
class Session:
    """What one command does to a run. ``entry`` is what it writes of itself into the manifest, ``digests``
    are those of the samples' media, by path.
    """

    spec: RunSpec
    tasks: Sequence[Task]
    entries: Mapping[str, TaskEntry]
    samples: Mapping[str, list[Indexed]]
    run: RunDir
    entry: Invocation
    reporter: Reporter
    digests: Mapping[str, str] = field(default_factory=dict)
    names: dict[str, ArmEntry] = field(default_factory=dict)

    def plan(self, card: Card) -> PlannedArm:
        """Everything that an arm is asked."""
        jobs = [
            _Job(
                build_request(
                    card, task, indexed.sample, mc_logits=self.spec.mc_logits, digests=self.digests
                ),
                task,
                indexed,
            )
            for task in self.tasks
            for indexed in self.samples[task.name]
        ]
        return PlannedArm(card, {job.request.key: job for job in jobs})

    def left(self, arm: PlannedArm, records: Mapping[str, Record]) -> set[str]:
        """Keys that have no answer among the stored records yet, or whose answer is to be audited; what can't
        be asked is no work.
        """
        limit = self.spec.audit or 0.0
        return {
            key
            for key, job in arm.work.items()
            if not job.problem
            and (key not in records or records[key].failed or _below(records[key].margin, limit))
        }

    def announce(self, arms: Sequence[PlannedArm]) -> list[_Arm]:
        """Write down what arms are and which requests they answer, before they do."""
        if self.names:
            self.run.check_there()
        plans = [{name: self.run.write_plan(keys) for name, keys in self._keys(arm).items()} for arm in arms]
        found: list[_Arm] = []

        def change(manifest: Manifest) -> Manifest:
            manifest = manifest.with_scoring(scoring_of(self.spec, manifest))
            for arm, planned in zip(arms, plans, strict=True):
                entry = self._entry(arm.card, manifest)
                if entry.arm not in {each.arm for each in manifest.arms}:
                    manifest = manifest.with_arms([entry])
                found.append(_Arm(entry.arm, arm.card, arm.work))
                self.names[entry.arm] = entry
                manifest = self._with_evaluations(manifest, entry.arm, planned)
            return manifest

        self.run.update(change, self.entry.started)
        self._refuse(found)
        return found

    def _refuse(self, arms: Sequence[_Arm]) -> None:
        """Rows that can't be asked are errors, stored once."""
        refused = {
            key: _record(arm, Response(key, "", (), "error", error=job.problem))
            for arm in arms
            for key, job in arm.work.items()
            if job.problem
        }
        stored = self.run.journal().records if refused else {}
        new = [record for key, record in refused.items() if key not in stored]
        if new:
            with self.run.writer() as journal:
                journal.append(new)

    def answer(self, executor: Executor, arms: Sequence[_Arm]) -> None:
        """Have the arms that an executor has loaded answer what the store doesn't hold yet, and store it."""
        records = self.run.journal().records
        answered = {key for key, record in records.items() if not record.failed}
        settled = answered | {key for arm in arms for key, job in arm.work.items() if job.problem}
        for arm in arms:
            if arm.card.compile_seconds:
                self.reporter.note(f"{arm.name}: compiled in {arm.card.compile_seconds:.1f} s")
            self.reporter.arm_started(arm.name, _count(arm.work), _count(arm.work, settled))
        left = [
            [job.request for key, job in arm.work.items() if key not in answered and not job.problem]
            for arm in arms
        ]
        answers = executor.answers(left, settings_of(self.spec, executor))
        with self.run.writer() as journal, closing(answers) as batches:
            for number, responses in batches:
                stored = [_record(arms[number], response) for response in responses]
                journal.append(stored)
                for record in stored:
                    self.reporter.answered(record.arm, record.task, record.failed)
        if self.spec.audit is not None:
            self._audit(executor, arms, self.spec.audit)
        for arm in arms:
            self.reporter.arm_finished(arm.name)

    def _audit(self, executor: Executor, arms: Sequence[_Arm], margin: float) -> None:
        """Note in the manifest which of the closest calls come out differently alone."""
        records = self.run.journal().records
        close = [
            {key: records[key] for key in arm.work if key in records and _below(records[key].margin, margin)}
            for arm in arms
        ]
        found = audit(
            executor,
            [{key: arm.work[key].request for key in own} for arm, own in zip(arms, close, strict=True)],
            [{key: record.token_ids for key, record in own.items()} for own in close],
            settings_of(self.spec, executor),
        )
        audits = dict(self.entry.audits)
        for arm, own, audited in zip(arms, close, found, strict=True):
            names = tuple(f"{own[key].task}/{own[key].sample_id}" for key in audited.different)
            audits[arm.name] = Audit(margin=margin, repeated=len(audited.repeated), different=names)
        self.entry = self.entry.model_copy(update={"audits": audits})
        self.run.update(lambda manifest: manifest.with_invocation(self.entry), self.entry.started)

    def _keys(self, arm: PlannedArm) -> dict[str, list[str]]:
        keys: dict[str, list[str]] = {task.name: [] for task in self.tasks}
        for key, job in arm.work.items():
            keys[job.task.name].append(key)
        return keys

    def _entry(self, card: Card, manifest: Manifest) -> ArmEntry:
        """What the manifest says of an arm. Another checkpoint, or the same under other conditions, has a
        name of its own, with some of its hash: their answers are never mixed.
        """
        fingerprint, identity = self._identity(card)
        name = arm_name(card)
        of_name = {each.arm: each for each in manifest.arms}
        for known in (each for each in manifest.arms if each.arm not in self.names):
            same = (known.fingerprint, known.rope) == (fingerprint, str(card.variant))
            if same and re.sub(r"#[0-9a-f]{6}(-\d+)?$", "", known.arm) == name:
                return known
        if name in of_name:
            other, number = of_name[name], 1
            name = f"{name}#{fingerprint[:6]}"
            while name in of_name:
                number += 1
                name = f"{arm_name(card)}#{fingerprint[:6]}-{number}"
            if other.arm not in self.names:
                self.reporter.note(f"{name} is kept apart from {other.arm}: {_differing(other, identity)}")
        return ArmEntry(
            arm=name,
            model=card.name,
            rope=str(card.variant),
            family=card.family,
            fingerprint=fingerprint,
            box_space=card.box_space,
            identity=dict(identity),
            revision=card.revision,
            notes=tuple(card.notes),
        )

    def _identity(self, card: Card) -> tuple[str, Mapping[str, str]]:
        """A checkpoint's, and how options are chosen."""
        if not self.spec.mc_logits:
            return card.fingerprint, card.identity
        identity = {**card.identity, "options": "chosen by their letters' logits"}
        return fingerprint_of(identity), identity

    def _with_evaluations(self, manifest: Manifest, arm: str, plans: Mapping[str, str]) -> Manifest:
        """Add an arm's evaluations, and to this command's entry that it covers them."""
        covered = []
        manifest = manifest.with_invocation(self.entry)
        for name, plan in plans.items():
            entry = Evaluation(
                id=len(manifest.evaluations),
                invocation=self.entry.id,
                arm=arm,
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
    asked = spec.chosen()
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


def check_unchanged(planned: Iterable[PlannedArm], loaded: Iterable[Card]) -> None:
    """Refuse to store answers of a checkpoint that was replaced after its requests were named.

    Raises:
        EnvironmentProblem: names the checkpoint.
    """
    for arm, card in zip(planned, loaded, strict=False):
        if arm.card.fingerprint != card.fingerprint:
            raise EnvironmentProblem(
                f"checkpoint `{card.name}` was changed while this command ran",
                "its files are not those that its answers would be stored for",
                "give the command again when the checkpoint is complete",
            )


def _differing(known: ArmEntry, identity: Mapping[str, str]) -> str:
    """In what an arm differs from a stored one of the same name."""
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


def settings_of(spec: RunSpec, executor: Executor) -> Settings:
    """How the engines are to work. One core of each is left to the model; more than 14 workers outrun any one
    of them.
    """
    workers = max(1, min(int(executor.cores) - 1, 14)) if spec.workers is None else spec.workers
    ways = Techniques.without(*spec.without)
    return Settings(workers, spec.batch_tokens, spec.batch_size, ways, spec.media_timeout)


def _below(margin: float | None, limit: float) -> bool:
    return margin is not None and margin < limit


def _count(work: Mapping[str, _Job], among: Container[str] | None = None) -> dict[str, int]:
    """Requests of each task, all or only those whose key is in ``among``."""
    found = {job.task.name: 0 for job in work.values()}
    for key, job in work.items():
        found[job.task.name] += among is None or key in among
    return found


def _record(arm: _Arm, response: Response) -> Record:
    job = arm.work[response.key]
    task, indexed, request = job.task, job.indexed, job.request
    return Record(
        arm=arm.name,
        model=scrub(arm.card.name),
        rope=str(arm.card.variant),
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
        box_space=arm.card.box_space,
        media=response.media,
        seconds=response.seconds,
        margin=response.margin,
    )
