"""Carries out a :class:`RunSpec`: loads, plans, runs what is missing, scores, writes the views."""

from __future__ import annotations

import sys
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from evalkit import provenance
from evalkit.bridges import lmms
from evalkit.data.cache import MediaCache, cache_root
from evalkit.engine.techniques import Techniques
from evalkit.errors import EvalkitError, UsageError
from evalkit.finish import Outcome, finish, now
from evalkit.models.base import Model
from evalkit.registry import load_task, resolve
from evalkit.requests import Indexed, build_request, choose, selected
from evalkit.spec import ArmSpec, RunSpec
from evalkit.store import Plan, Record, RunDir
from evalkit.task import Task
from evalkit.types import Request, Response

DEFAULT_BATCH_TOKENS = 16384


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

    def problem(self, error: EvalkitError) -> None:
        """Ignore it; the error is in the result as well."""


def load_tasks(spec: RunSpec) -> list[Task]:
    """The tasks of an order, in the order written, each once."""
    found: dict[str, Task] = {}
    for pattern in spec.tasks:
        for task in _matching(pattern, spec):
            found.setdefault(task.name, task)
    return list(found.values())


def _matching(pattern: str, spec: RunSpec) -> list[Task]:
    if pattern.startswith(lmms.PREFIX):
        return lmms.load(pattern, spec.lmms_python, spec.lmms_include)
    return [load_task(name, spec.tasks_dirs) for name in resolve([pattern], spec.tasks_dirs)]


def load_samples(spec: RunSpec, tasks: Sequence[Task]) -> dict[str, list[Indexed]]:
    """The samples to run of every task, before any model is loaded: data problems show at once."""
    cache = MediaCache(cache_root() / "media")
    samples = {}
    for task in tasks:
        only = selected(task, spec.data_root, None, spec.subset)
        samples[task.name] = choose(task.samples(spec.data_root), spec.limit, cache, only)
        if not samples[task.name]:
            raise UsageError(
                f"task `{task.name}` has no samples",
                f"its data set is empty ({task.dataset.describe()})",
                "check the mirror under `--data-root`",
            )
    return samples


def execute(spec: RunSpec, reporter: Reporter) -> Outcome:
    """Run an order to its end, or as far as it goes.

    An arm whose checkpoint can't be loaded is reported and left out; the others go on.

    Raises:
        EvalkitError: the order itself or its data can't be used; nothing was run.
    """
    arms = spec.arms()
    Techniques.without(*spec.without)  # a misspelt one shows before anything is loaded
    tasks = load_tasks(spec)
    samples = load_samples(spec, tasks)
    run = RunDir.create(spec.run_path())
    earlier = run.manifest() if run.begun else {}
    manifest = _manifest(spec, tasks, samples, earlier)
    plan = run.plan() if run.planned else {}
    session = _Session(spec, tasks, samples, run, manifest, plan, reporter)
    problems: list[EvalkitError] = []
    for arm in arms:
        try:
            session.run_arm(_load(arm, spec))
        except EvalkitError as error:
            if len(arms) == 1:
                raise
            reporter.problem(error)
            problems.append(error)
    if not session.begun:
        first = problems[0]
        raise type(first)("nothing was run", f"none of the {len(arms)} arms could be loaded", "see above")
    loaded = {task.name: task for task in tasks}
    names = [task["name"] for task in manifest["tasks"]]
    everything = [
        task for name in names for task in ([loaded[name]] if name in loaded else _matching(name, spec))
    ]
    return finish(run, everything, plan, manifest, problems)


def arm_name(model: Model) -> str:
    """``model@variant``; a local checkpoint goes by its folder's name."""
    name = model.name if not Path(model.name).is_dir() else Path(model.name).resolve().name
    return f"{name}@{model.variant}"


def _load(arm: ArmSpec, spec: RunSpec) -> Model:
    from evalkit.models import load_model

    return load_model(arm.model, rope=arm.rope, dtype=spec.dtype, device=spec.device)


@dataclass
class _Session:
    """What the arms of one run share while it goes on."""

    spec: RunSpec
    tasks: Sequence[Task]
    samples: Mapping[str, list[Indexed]]
    run: RunDir
    manifest: dict[str, Any]
    plan: Plan
    reporter: Reporter
    begun: set[str] = field(default_factory=set)

    def run_arm(self, model: Model) -> None:
        """Plan one arm, answer what the store doesn't hold yet, and store it batch by batch."""
        from evalkit.engine.run import run_requests

        arm = self._name(model)
        work = self._requests(model)
        self._announce(arm, model, work)
        answered = {key for key, record in self.run.journal().records.items() if not record.failed}
        self.reporter.arm_started(arm, _count(work), _count(work, answered))
        with self.run.writer() as journal:

            def store(responses: list[Response]) -> None:
                records = [_record(arm, model, work[response.key], response) for response in responses]
                journal.append(records)
                for record in records:
                    self.reporter.answered(arm, record.task, record.failed)

            run_requests(
                model,
                [job.request for key, job in work.items() if key not in answered],
                workers=_workers(self.spec),
                batch_tokens=self.spec.batch_tokens or DEFAULT_BATCH_TOKENS,
                batch_size=self.spec.batch_size,
                on_batch=store,
                techniques=Techniques.without(*self.spec.without),
            )
        if self.spec.audit is not None:
            self._audit(arm, model, work, self.spec.audit)
        self.reporter.arm_finished(arm)

    def _audit(self, arm: str, model: Model, work: Mapping[str, _Job], margin: float) -> None:
        """Note in the manifest which of the closest calls come out differently alone."""
        from evalkit.engine.audit import audit

        records = self.run.journal().records
        close = {
            key: record
            for key, record in records.items()
            if key in work and record.margin is not None and record.margin < margin
        }
        found = audit(
            model,
            {key: work[key].request for key in close},
            {key: record.token_ids for key, record in close.items()},
            _workers(self.spec),
        )
        names = [f"{close[key].task}/{close[key].sample_id}" for key in found.different]
        noted = {"margin": margin, "repeated": len(found.repeated), "different": names}
        self.manifest["audits"] = {**self.manifest.get("audits", {}), arm: noted}

    def _requests(self, model: Model) -> dict[str, _Job]:
        jobs = [
            _Job(build_request(model, task, indexed.sample), task, indexed)
            for task in self.tasks
            for indexed in self.samples[task.name]
        ]
        return {job.request.key: job for job in jobs}

    def _announce(self, arm: str, model: Model, work: Mapping[str, _Job]) -> None:
        """Write down what this arm is and which requests it will answer, before it starts."""
        described = {
            "arm": arm,
            "model": model.name,
            "rope": str(model.variant),
            "family": model.family,
            "fingerprint": model.fingerprint,
            "box_space": model.box_space,
        }
        others = [each for each in self.manifest["arms"] if each["arm"] != arm]
        self.manifest["arms"] = [*others, described]
        self.manifest["hardware"] = provenance.hardware()
        keys: dict[str, list[str]] = {task.name: [] for task in self.tasks}
        for key, job in work.items():
            keys[job.task.name].append(key)
        # An earlier command may have run other tasks of this arm.
        self.plan[arm] = self.plan.get(arm, {}) | keys
        self.begun.add(arm)
        self.manifest["arms_to_come"] -= 1
        self.run.write_manifest(self.manifest)
        self.run.write_plan(self.plan)

    def _name(self, model: Model) -> str:
        """Two checkpoints may have folders of one name; the later one shows some of its hash."""
        name = arm_name(model)
        known = {each["arm"]: each["fingerprint"] for each in self.manifest["arms"]}
        taken = name in self.begun or known.get(name, model.fingerprint) != model.fingerprint
        return f"{name}#{model.fingerprint[:6]}" if taken else name


@dataclass(frozen=True)
class _Job:
    request: Request
    task: Task
    indexed: Indexed


def _count(work: Mapping[str, _Job], among: Container[str] | None = None) -> dict[str, int]:
    """Requests of each task, all or only those whose key is in ``among``."""
    found = {job.task.name: 0 for job in work.values()}
    for key, job in work.items():
        found[job.task.name] += among is None or key in among
    return found


def _workers(spec: RunSpec) -> int:
    """One core is left to the model; more than 14 workers outrun any one of them."""
    if spec.workers is not None:
        return spec.workers
    return max(1, min(provenance.usable_cores() - 1, 14))


def _record(arm: str, model: Model, job: _Job, response: Response) -> Record:
    task, indexed, request = job.task, job.indexed, job.request
    return Record(
        arm=arm,
        model=model.name,
        rope=str(model.variant),
        task=task.name,
        sample_id=indexed.sample.id,
        index=indexed.index,
        key=request.key,
        cluster_id=indexed.sample.cluster_id,
        prompt=request.prompt,
        reference=indexed.sample.reference,
        raw=response.text,
        finish_reason=response.finish_reason,
        error=response.error,
        token_ids=response.token_ids,
        prompt_tokens=response.prompt_tokens,
        visual_tokens=response.visual_tokens,
        groups=indexed.sample.groups,
        meta=indexed.sample.meta,
        box_space=model.box_space,
        media=response.media,
        seconds=response.seconds,
        margin=response.margin,
    )


def _manifest(
    spec: RunSpec,
    tasks: Sequence[Task],
    samples: Mapping[str, list[Indexed]],
    earlier: Mapping[str, Any],
) -> dict[str, Any]:
    """What this run is; arms and tasks that earlier commands ran into the same folder stay in it."""
    described = {task["name"]: task for task in earlier.get("tasks", [])}
    described |= {task.name: _described(task, len(samples[task.name])) for task in tasks}
    return {
        "status": "running",
        "created": earlier.get("created", now()),
        "command": provenance.command(sys.argv),
        "versions": provenance.versions(),
        "revision": provenance.git_revision(Path(__file__).parent),
        "spec": asdict(spec),
        "arms": list(earlier.get("arms", [])),
        "arms_to_come": len(spec.arms()),
        "tasks": list(described.values()),
        "audits": dict(earlier.get("audits", {})),
    }


def _described(task: Task, planned_samples: int) -> dict[str, Any]:
    return {
        "name": task.name,
        "title": task.title,
        "category": task.category,
        "paper_row": task.paper_row,
        "metric": task.metric.name,
        "range": list(task.metric.range),
        "samples": planned_samples,
        "size": task.size,
        "dataset": task.dataset.describe(),
        "licence": task.licence,
        "max_new_tokens": task.max_new_tokens,
        "submission": task.submission is not None,
    }
