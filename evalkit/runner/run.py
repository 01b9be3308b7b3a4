"""Carries out a :class:`RunSpec`: loads, plans, runs what is missing, scores, writes the views."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from evalkit.config.run_spec import RunSpec, rope_files
from evalkit.core import provenance
from evalkit.core.errors import EvalkitError, RunGone, UsageError
from evalkit.core.provenance import usable_cores
from evalkit.core.registry import load_task, resolve
from evalkit.core.task import Task
from evalkit.core.types import MediaRef
from evalkit.data.cache import MediaCache, cache_root
from evalkit.data.selection import IndexedSample, choose_samples, selected_ids
from evalkit.engine.executors.base import Executor, ModelSpec
from evalkit.engine.media_scan import MAX_READERS, digest_files
from evalkit.engine.optimizations import Optimizations
from evalkit.engine.worker_pool import start_fork_server
from evalkit.integrations.lmms_eval import task as lmms
from evalkit.metrics.base import ExternalMetric
from evalkit.models.base import LoadConfig, ModelInfo
from evalkit.models.checkpoints.series import with_all_steps
from evalkit.runner.repeat import InputWatch, reuse_finished
from evalkit.runner.reporter import Reporter
from evalkit.runner.requests import option_letters
from evalkit.runner.system_run import PlannedSystem, SystemRun, check_unchanged, scoring_of
from evalkit.scoring.finalize import RunResult, finalize, now
from evalkit.store import Invocation, RunDir, TaskEntry


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


def load_samples(spec: RunSpec, tasks: Sequence[Task]) -> dict[str, list[IndexedSample]]:
    """The samples to run of every task, before any model is loaded: data problems show at once."""
    cache = MediaCache(cache_root() / "media")
    samples = {}
    for task in tasks:
        only = selected_ids(task, spec.data_root, None, spec.subset)
        samples[task.name] = choose_samples(task.samples(spec.data_root), spec.limit, cache, only)
        if not samples[task.name]:
            raise UsageError(
                f"task `{task.name}` has no samples",
                f"its data set is empty ({task.dataset.describe()})",
                "check the mirror under `--data-root`",
            )
    return samples


def read_media(
    spec: RunSpec, samples: Mapping[str, Sequence[IndexedSample]]
) -> tuple[dict[str, list[IndexedSample]], Mapping[str, str]]:
    """The samples, and the digests of their media by path; one whose media can't be read in time can't be
    asked.
    """
    refs = (part for own in samples.values() for each in own for part in each.sample.parts)
    workers = min(MAX_READERS, usable_cores()) if spec.workers is None else spec.workers
    found = digest_files((ref for ref in refs if isinstance(ref, MediaRef)), workers, spec.media_timeout)

    def checked(indexed: IndexedSample) -> IndexedSample:
        paths = (str(part.path) for part in indexed.sample.parts if isinstance(part, MediaRef))
        problem = next((found.problems[path] for path in paths if path in found.problems), None)
        if problem is None or indexed.sample.problem:
            return indexed
        return replace(indexed, sample=replace(indexed.sample, problem=problem))

    return {name: [checked(each) for each in own] for name, own in samples.items()}, found.known


def run_spec(spec: RunSpec, reporter: Reporter) -> RunResult:
    """Run what a spec asks for to its end, or as far as it goes.

    A system whose checkpoint can't be loaded is reported and left out; the others go on. A command that was
    finished before, with the same checkpoints, data and code, is answered from what is stored.

    Raises:
        EvalkitError: the spec itself or its data can't be used, or another process is answering the same;
            nothing was run.
    """
    path = spec.run_path()
    spec = with_all_steps(spec)
    run = RunDir.create(path)
    if run.begun:
        scoring_of(spec, run.manifest())
    entry = _new_invocation(spec)
    stored = reuse_finished(run, entry)
    if stored is not None:
        reporter.note("finished before, and nothing has changed since: nothing is loaded")
        return stored
    for note in entry.notes:
        reporter.note(note)
    Optimizations.without(*spec.without)  # a misspelt one shows before anything is loaded
    systems = spec.systems()
    if spec.workers != 0:
        start_fork_server()
    tasks = load_tasks(spec)
    watch = InputWatch.start(spec, tasks)
    samples, known = read_media(spec, load_samples(spec, tasks))
    entries = {task.name: task_entry(task, samples[task.name], spec.mc_logits) for task in tasks}
    entry = entry.model_copy(update={"revision": provenance.git_revision(Path(__file__).parent)})
    system_run = SystemRun(spec, tasks, entries, samples, run, entry, reporter, known)
    command = _SystemsRun(
        system_run, [ModelSpec(system.model, system.rope, load_config_of(spec)) for system in systems]
    )
    with closing(executor_of(spec)) as executor:
        command.run(executor, watch)
    if not system_run.registered:
        first = command.problems[0]
        raise type(first)(
            "nothing was run", f"none of the {len(systems)} systems could be loaded", "see above"
        )
    return finalize(
        run, tasks, system_run.entry, command.problems, None if command.problems else watch.unchanged()
    )


class _SystemsRun:
    """The systems of one command, from their names to their answers. What goes wrong with one of several is a
    problem that leaves it out.
    """

    def __init__(self, system_run: SystemRun, specs: Sequence[ModelSpec]) -> None:
        self.system_run = system_run
        self.specs = specs
        self.problems: list[EvalkitError] = []

    def run(self, executor: Executor, watch: InputWatch) -> None:
        """Plan all systems, and answer what is left of them."""
        system_run = self.system_run
        left: list[tuple[ModelSpec, PlannedSystem]] = []
        keys: set[str] = set()
        model_infos: list[ModelInfo] = []
        records = system_run.run.journal().records
        for model_spec in self.specs:
            with self._collecting_problems():
                system = system_run.plan(executor.describe(model_spec))
                model_infos.append(system.model_info)
                for note in system.model_info.notes:
                    system_run.reporter.note(f"{system.name}: {note}")
                own = system_run.pending_keys(system, records)
                keys |= own
                if own:
                    left.append((model_spec, system))
                else:
                    system_run.register([system])
                    system_run.reporter.note(
                        f"{system.name}: all {len(system.requests)} samples are stored already"
                    )
        watch.set_checkpoints(model_infos)
        names = [name for _, system in left for name in system.lock_names(keys)]
        waiting = system_run.reporter.note if system_run.spec.wait else None
        with system_run.run.answer_locks(names, system_run.entry.command, waiting):
            self._answer(executor, list(self._still_pending(left)) if system_run.spec.wait else left)

    def _still_pending(
        self, systems: Sequence[tuple[ModelSpec, PlannedSystem]]
    ) -> Iterator[tuple[ModelSpec, PlannedSystem]]:
        """What another process has not answered while this one waited for it."""
        records = self.system_run.run.journal().records
        for model_spec, system in systems:
            if self.system_run.pending_keys(system, records):
                yield model_spec, system
            else:
                self.system_run.register([system])

    def _answer(self, executor: Executor, left: Sequence[tuple[ModelSpec, PlannedSystem]]) -> None:
        """Load systems, as many at a time as the executor can, and have them answer."""
        lockstep = Optimizations.without(*self.system_run.spec.without).lockstep
        while left:
            count = 1
            with self._collecting_problems():
                loaded = executor.load([model_spec for model_spec, _ in left], lockstep=lockstep)
                count = len(loaded)
                systems = [system for _, system in left[:count]]
                check_unchanged(systems, loaded)
                ready = [
                    PlannedSystem(model_info, system.requests)
                    for model_info, system in zip(loaded, systems, strict=True)
                ]
                self.system_run.answer(executor, self.system_run.register(ready))
            left = left[count:]

    @contextmanager
    def _collecting_problems(self) -> Iterator[None]:
        try:
            yield
        except RunGone:  # other systems could not be stored, either
            raise
        except EvalkitError as error:
            if len(self.specs) == 1:
                raise
            self.system_run.reporter.problem(error)
            self.problems.append(error)


def load_config_of(spec: RunSpec) -> LoadConfig:
    """How an engine in this process runs a model; other engines have devices of their own."""
    only = spec.devices[0] if len(spec.devices) == 1 else spec.device
    device = f"cuda:{only}" if only.isdigit() else only
    shown = (spec.max_frames, spec.visual_tokens)
    return LoadConfig(
        spec.dtype,
        device,
        spec.device_map,
        *shown,
        spec.compile,
        _batching(spec),
        spec.processor,
        processor_if_needed=len({system.model for system in spec.systems()}) > 1,
        rope_files=rope_files(spec.ropes_dirs),
    )


def _batching(spec: RunSpec) -> tuple[str, ...]:
    """The options that decide which questions share a computation."""
    options = {"batch size": spec.batch_size, "batch tokens": spec.batch_tokens}
    off = [name for name in Optimizations.names() if not getattr(Optimizations.without(*spec.without), name)]
    # Preprocessing together or alone gives the same bytes.
    without = tuple(f"without {name}" for name in off if name != "media")
    return (*without, *(f"{name} {value}" for name, value in options.items() if value is not None))


def executor_of(spec: RunSpec) -> Executor:
    """What the order is to be run by."""
    from evalkit.engine.executors.device_groups import parse_device_groups
    from evalkit.engine.executors.local import LocalExecutor
    from evalkit.engine.executors.ray import RayExecutor

    device_groups, cluster = parse_device_groups(spec.devices), spec.executor == "ray"
    if spec.gpus_per_engine and not cluster:
        raise UsageError(
            "`--gpus-per-engine`", "it is for a Ray cluster", "write `--devices 0+1,2+3`, or `--executor ray`"
        )
    if cluster and any(device_group.visible_devices for device_group in device_groups):
        raise UsageError(
            f"`--devices {','.join(spec.devices)}` with `--executor ray`",
            "on a cluster Ray says which GPUs an engine gets",
            "leave `--devices` out; `--gpus-per-engine` says how many each gets",
        )
    if cluster or len(device_groups) > 1 or any(device_group.multi_device for device_group in device_groups):
        if spec.executor == "local":
            raise UsageError(
                f"`--devices {','.join(spec.devices)}` with `--executor local`",
                "in this process there is one engine, on one device",
                "give one device, or leave `--executor` out",
            )
        return RayExecutor(device_groups, cluster, spec.gpus_per_engine or 1)
    return LocalExecutor()


def _new_invocation(spec: RunSpec) -> Invocation:
    """What the manifest says of this command when it begins."""
    started = now()
    return Invocation(
        id=f"{started.replace(':', '').replace('-', '')[:15]}-{secrets.token_hex(3)}",
        command=provenance.command(sys.argv),
        started=started,
        spec=spec,
        versions=provenance.versions(),
        notes=provenance.untested(),
        hardware=provenance.hardware(),
        devices=spec.devices or (spec.device,),
        engine="ray" if spec.executor == "ray" or len(spec.devices) > 1 else "local",
    )


def task_entry(task: Task, samples: Sequence[IndexedSample], mc_logits: bool) -> TaskEntry:
    """What the manifest says of a task."""
    chosen = mc_logits and any(option_letters(each.sample) for each in samples)
    low, high = task.metric.range
    return TaskEntry(
        name=task.name,
        title=task.title,
        category=task.category,
        paper_row=task.paper_row,
        metric=task.metric.name,
        range=(float(low), float(high)),
        size=task.size,
        dataset={name: str(value) for name, value in task.dataset.describe().items()},
        licence=task.licence,
        max_new_tokens=task.max_new_tokens,
        submission=task.submission is not None,
        chosen_by="option logits" if chosen else None,
        scored_by=task.metric.scored_by if isinstance(task.metric, ExternalMetric) else None,
    )
