"""The arms of a run while it goes on: planned, answered, and stored batch by batch."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from evalkit import provenance
from evalkit.engine.audit import audit
from evalkit.engine.executors.base import Executor
from evalkit.engine.run import Settings
from evalkit.engine.techniques import Techniques
from evalkit.errors import EvalkitError
from evalkit.models.base import Card
from evalkit.requests import Indexed, build_request
from evalkit.spec import RunSpec
from evalkit.store import Plan, Record, RunDir
from evalkit.task import Task
from evalkit.types import Request, Response


class Reporter(Protocol):
    """Told what happens during a run; the command line draws it."""

    def arm_started(self, arm: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """An arm begins; ``done`` samples of each task were already in the store."""
        ...

    def answered(self, arm: str, task: str, failed: bool) -> None:
        """One sample was answered and stored."""
        ...

    def arm_finished(self, arm: str) -> None:
        """All samples of an arm are stored."""
        ...

    def note(self, text: str) -> None:
        """Something that may be good to know."""
        ...

    def problem(self, error: EvalkitError) -> None:
        """Something went wrong that ends one arm but not the run."""
        ...


class Silent:
    """Reports nothing."""

    def arm_started(self, arm: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Ignore it."""

    def answered(self, arm: str, task: str, failed: bool) -> None:
        """Ignore it."""

    def arm_finished(self, arm: str) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def problem(self, error: EvalkitError) -> None:
        """Ignore it; the error is in the result as well."""


def arm_name(model: Card) -> str:
    """``model@variant``; a local checkpoint goes by its folder's name."""
    name = model.name if not Path(model.name).is_dir() else Path(model.name).resolve().name
    return f"{name}@{model.variant}"


@dataclass(frozen=True)
class _Job:
    request: Request
    task: Task
    indexed: Indexed


@dataclass(frozen=True)
class _Arm:
    """A model under its name, and what it is asked, by key."""

    name: str
    card: Card
    work: Mapping[str, _Job]


@dataclass
class Session:
    """What the arms of one run share."""

    spec: RunSpec
    tasks: Sequence[Task]
    samples: Mapping[str, list[Indexed]]
    run: RunDir
    manifest: dict[str, Any]
    plan: Plan
    reporter: Reporter
    begun: set[str] = field(default_factory=set)

    def run_arms(self, executor: Executor, cards: Sequence[Card]) -> None:
        """Plan the arms that an executor has loaded, answer what the store doesn't hold yet, and store it."""
        arms = [self._planned(card) for card in cards]
        records = self.run.journal().records
        answered = {key for key, record in records.items() if not record.failed}
        for arm in arms:
            if arm.card.compile_seconds:
                self.reporter.note(f"{arm.name}: compiled in {arm.card.compile_seconds:.1f} s")
            self.reporter.arm_started(arm.name, _count(arm.work), _count(arm.work, answered))
        left = [[job.request for key, job in arm.work.items() if key not in answered] for arm in arms]
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

    def _planned(self, card: Card) -> _Arm:
        jobs = [
            _Job(build_request(card, task, indexed.sample, mc_logits=self.spec.mc_logits), task, indexed)
            for task in self.tasks
            for indexed in self.samples[task.name]
        ]
        arm = _Arm(self._name(card), card, {job.request.key: job for job in jobs})
        self._announce(arm)
        return arm

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
            settings_of(self.spec, executor).workers,
        )
        for arm, own, audited in zip(arms, close, found, strict=True):
            names = [f"{own[key].task}/{own[key].sample_id}" for key in audited.different]
            noted = {"margin": margin, "repeated": len(audited.repeated), "different": names}
            self.manifest["audits"] = {**self.manifest.get("audits", {}), arm.name: noted}

    def _announce(self, arm: _Arm) -> None:
        """Write down what an arm is and which requests it will answer, before it starts."""
        described = {
            "arm": arm.name,
            "model": arm.card.name,
            "rope": str(arm.card.variant),
            "family": arm.card.family,
            "fingerprint": arm.card.fingerprint,
            "box_space": arm.card.box_space,
        }
        others = [each for each in self.manifest["arms"] if each["arm"] != arm.name]
        self.manifest["arms"] = [*others, described]
        self.manifest["hardware"] = provenance.hardware()
        keys: dict[str, list[str]] = {task.name: [] for task in self.tasks}
        for key, job in arm.work.items():
            keys[job.task.name].append(key)
        # An earlier command may have run other tasks of this arm.
        self.plan[arm.name] = self.plan.get(arm.name, {}) | keys
        self.begun.add(arm.name)
        self.manifest["arms_to_come"] -= 1
        self.run.write_manifest(self.manifest)
        self.run.write_plan(self.plan)

    def _name(self, card: Card) -> str:
        """Two checkpoints may have folders of one name; the later one shows some of its hash."""
        name = arm_name(card)
        known = {each["arm"]: each["fingerprint"] for each in self.manifest["arms"]}
        taken = name in self.begun or known.get(name, card.fingerprint) != card.fingerprint
        return f"{name}#{card.fingerprint[:6]}" if taken else name


def settings_of(spec: RunSpec, executor: Executor) -> Settings:
    """How the engines are to work. One core of each is left to the model; more than 14 workers outrun any one
    of them.
    """
    workers = max(1, min(int(executor.cores) - 1, 14)) if spec.workers is None else spec.workers
    return Settings(workers, spec.batch_tokens, spec.batch_size, Techniques.without(*spec.without))


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
        model=arm.card.name,
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
        error=response.error,
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
