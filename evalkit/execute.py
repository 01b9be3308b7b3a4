"""Carries out a :class:`RunSpec`: loads, plans, runs what is missing, scores, writes the views."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evalkit import provenance
from evalkit.bridges import lmms
from evalkit.data.cache import MediaCache, cache_root
from evalkit.engine.executors.base import Executor, Order
from evalkit.engine.techniques import Techniques
from evalkit.engine.workers import get_ready
from evalkit.errors import EvalkitError, UsageError
from evalkit.finish import Outcome, finish, now
from evalkit.models.base import Placing
from evalkit.registry import load_task, resolve
from evalkit.requests import Indexed, choose, letters_of, selected
from evalkit.session import Reporter, Session
from evalkit.spec import ArmSpec, RunSpec
from evalkit.store import RunDir
from evalkit.task import Task


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
    session = Session(spec, tasks, samples, run, manifest, plan, reporter)
    with closing(executor_of(spec)) as executor:
        problems = _run_all(session, executor, arms)
    if not session.begun:
        first = problems[0]
        raise type(first)("nothing was run", f"none of the {len(arms)} arms could be loaded", "see above")
    loaded = {task.name: task for task in tasks}
    names = [task["name"] for task in manifest["tasks"]]
    everything = [
        task for name in names for task in ([loaded[name]] if name in loaded else _matching(name, spec))
    ]
    return finish(run, everything, plan, manifest, problems)


def _run_all(session: Session, executor: Executor, arms: Sequence[ArmSpec]) -> list[EvalkitError]:
    """Run arms, as many at a time as the executor can load; what went wrong with those left out."""
    spec, problems = session.spec, []
    where = placing_of(spec)
    orders = [Order(arm.model, arm.rope, where) for arm in arms]
    lockstep = Techniques.without(*spec.without).lockstep
    if spec.workers != 0:
        get_ready()
    while orders:
        count = 1
        try:
            cards = executor.load(orders, lockstep=lockstep)
            count = len(cards)
            session.run_arms(executor, cards)
        except EvalkitError as error:
            if len(arms) == 1:
                raise
            session.reporter.problem(error)
            problems.append(error)
        orders = orders[count:]
    return problems


def placing_of(spec: RunSpec) -> Placing:
    """How an engine in this process runs a model; other engines have devices of their own."""
    only = spec.devices[0] if len(spec.devices) == 1 else spec.device
    device = f"cuda:{only}" if only.isdigit() else only
    shown = (spec.max_frames, spec.visual_tokens)
    return Placing(spec.dtype, device, spec.device_map, *shown, spec.compile, _batching(spec))


def _batching(spec: RunSpec) -> tuple[str, ...]:
    """The options that decide which questions share a computation."""
    options = {"batch size": spec.batch_size, "batch tokens": spec.batch_tokens}
    off = [name for name in Techniques.names() if not getattr(Techniques.without(*spec.without), name)]
    # Preprocessing together or alone gives the same bytes.
    without = tuple(f"without {name}" for name in off if name != "media")
    return (*without, *(f"{name} {value}" for name, value in options.items() if value is not None))


def executor_of(spec: RunSpec) -> Executor:
    """What the order is to be run by."""
    from evalkit.engine.executors.local import Local
    from evalkit.engine.executors.ray import RayEngines
    from evalkit.engine.executors.seats import seats_of

    seats, cluster = seats_of(spec.devices), spec.executor == "ray"
    if spec.gpus_per_engine and not cluster:
        raise UsageError(
            "`--gpus-per-engine`", "it is for a Ray cluster", "write `--devices 0+1,2+3`, or `--executor ray`"
        )
    if cluster and any(seat.visible for seat in seats):
        raise UsageError(
            f"`--devices {','.join(spec.devices)}` with `--executor ray`",
            "on a cluster Ray says which GPUs an engine gets",
            "leave `--devices` out; `--gpus-per-engine` says how many each gets",
        )
    if cluster or len(seats) > 1 or any(seat.spread for seat in seats):
        if spec.executor == "local":
            raise UsageError(
                f"`--devices {','.join(spec.devices)}` with `--executor local`",
                "in this process there is one engine, on one device",
                "give one device, or leave `--executor` out",
            )
        return RayEngines(seats, cluster, spec.gpus_per_engine or 1)
    return Local()


def _manifest(
    spec: RunSpec,
    tasks: Sequence[Task],
    samples: Mapping[str, list[Indexed]],
    earlier: Mapping[str, Any],
) -> dict[str, Any]:
    """What this run is; arms and tasks that earlier commands ran into the same folder stay in it."""
    described = {task["name"]: task for task in earlier.get("tasks", [])}
    described |= {task.name: _described(task, samples[task.name], spec.mc_logits) for task in tasks}
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


def _described(task: Task, samples: Sequence[Indexed], mc_logits: bool) -> dict[str, Any]:
    chosen = mc_logits and any(letters_of(each.sample) for each in samples)
    return {
        "name": task.name,
        "title": task.title,
        "category": task.category,
        "paper_row": task.paper_row,
        "metric": task.metric.name,
        "range": list(task.metric.range),
        "samples": len(samples),
        "size": task.size,
        "dataset": task.dataset.describe(),
        "licence": task.licence,
        "max_new_tokens": task.max_new_tokens,
        "submission": task.submission is not None,
        **({"chosen_by": "option logits"} if chosen else {}),
    }
