"""Carries out a :class:`RunSpec`: loads, plans, runs what is missing, scores, writes the views."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from evalkit import provenance
from evalkit.bridges import lmms
from evalkit.data.cache import MediaCache, cache_root
from evalkit.engine.crew import get_ready
from evalkit.engine.executors.base import Executor, Order
from evalkit.engine.reading import READERS, digests
from evalkit.engine.techniques import Techniques
from evalkit.errors import EvalkitError, RunGone, UsageError
from evalkit.finish import Outcome, finish, now
from evalkit.metrics.base import ExternalMetric
from evalkit.models.base import Card, Placing
from evalkit.models.training_steps import with_all_steps
from evalkit.provenance import usable_cores
from evalkit.registry import load_task, resolve
from evalkit.repeat import Watch, repeated
from evalkit.reporter import Reporter
from evalkit.requests import Indexed, choose, letters_of, selected
from evalkit.session import PlannedArm, Session, check_unchanged, scoring_of
from evalkit.spec import RunSpec
from evalkit.store import Invocation, RunDir, TaskEntry
from evalkit.task import Task
from evalkit.types import MediaRef


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


def read_media(
    spec: RunSpec, samples: Mapping[str, Sequence[Indexed]]
) -> tuple[dict[str, list[Indexed]], Mapping[str, str]]:
    """The samples, and the digests of their media by path; one whose media can't be read in time can't be
    asked.
    """
    refs = (part for own in samples.values() for each in own for part in each.sample.parts)
    workers = min(READERS, usable_cores()) if spec.workers is None else spec.workers
    found = digests((ref for ref in refs if isinstance(ref, MediaRef)), workers, spec.media_timeout)

    def checked(indexed: Indexed) -> Indexed:
        paths = (str(part.path) for part in indexed.sample.parts if isinstance(part, MediaRef))
        problem = next((found.problems[path] for path in paths if path in found.problems), None)
        if problem is None or indexed.sample.problem:
            return indexed
        return replace(indexed, sample=replace(indexed.sample, problem=problem))

    return {name: [checked(each) for each in own] for name, own in samples.items()}, found.known


def execute(spec: RunSpec, reporter: Reporter) -> Outcome:
    """Run what a spec asks for to its end, or as far as it goes.

    An arm whose checkpoint can't be loaded is reported and left out; the others go on. A command that was
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
    entry = _invocation(spec)
    stored = repeated(run, entry)
    if stored is not None:
        reporter.note("finished before, and nothing has changed since: nothing is loaded")
        return stored
    for note in entry.notes:
        reporter.note(note)
    Techniques.without(*spec.without)  # a misspelt one shows before anything is loaded
    arms = spec.arms()
    if spec.workers != 0:
        get_ready()
    tasks = load_tasks(spec)
    watch = Watch.start(spec, tasks)
    samples, known = read_media(spec, load_samples(spec, tasks))
    entries = {task.name: task_entry(task, samples[task.name], spec.mc_logits) for task in tasks}
    entry = entry.model_copy(update={"revision": provenance.git_revision(Path(__file__).parent)})
    session = Session(spec, tasks, entries, samples, run, entry, reporter, known)
    command = _Command(session, [Order(arm.model, arm.rope, placing_of(spec)) for arm in arms])
    with closing(executor_of(spec)) as executor:
        command.run(executor, watch)
    if not session.names:
        first = command.problems[0]
        raise type(first)("nothing was run", f"none of the {len(arms)} arms could be loaded", "see above")
    return finish(run, tasks, session.entry, command.problems, None if command.problems else watch.end())


class _Command:
    """The arms of one command, from their names to their answers. What goes wrong with one of several is a
    problem that leaves it out.
    """

    def __init__(self, session: Session, orders: Sequence[Order]) -> None:
        self.session = session
        self.orders = orders
        self.problems: list[EvalkitError] = []

    def run(self, executor: Executor, watch: Watch) -> None:
        """Plan all arms, and answer what is left of them."""
        session = self.session
        left: list[tuple[Order, PlannedArm]] = []
        keys: set[str] = set()
        cards: list[Card] = []
        records = session.run.journal().records
        for order in self.orders:
            with self._one_of_several():
                arm = session.plan(executor.describe(order))
                cards.append(arm.card)
                for note in arm.card.notes:
                    session.reporter.note(f"{arm.name}: {note}")
                own = session.left(arm, records)
                keys |= own
                if own:
                    left.append((order, arm))
                else:
                    session.announce([arm])
                    session.reporter.note(f"{arm.name}: all {len(arm.work)} samples are stored already")
        watch.described(cards)
        names = [name for _, arm in left for name in arm.leases(keys)]
        waiting = session.reporter.note if session.spec.wait else None
        with session.run.answering(names, session.entry.command, waiting):
            self._answer(executor, list(self._still_left(left)) if session.spec.wait else left)

    def _still_left(self, arms: Sequence[tuple[Order, PlannedArm]]) -> Iterator[tuple[Order, PlannedArm]]:
        """What another process has not answered while this one waited for it."""
        records = self.session.run.journal().records
        for order, arm in arms:
            if self.session.left(arm, records):
                yield order, arm
            else:
                self.session.announce([arm])

    def _answer(self, executor: Executor, left: Sequence[tuple[Order, PlannedArm]]) -> None:
        """Load arms, as many at a time as the executor can, and have them answer."""
        lockstep = Techniques.without(*self.session.spec.without).lockstep
        while left:
            count = 1
            with self._one_of_several():
                loaded = executor.load([order for order, _ in left], lockstep=lockstep)
                count = len(loaded)
                arms = [arm for _, arm in left[:count]]
                check_unchanged(arms, loaded)
                ready = [PlannedArm(card, arm.work) for card, arm in zip(loaded, arms, strict=True)]
                self.session.answer(executor, self.session.announce(ready))
            left = left[count:]

    @contextmanager
    def _one_of_several(self) -> Iterator[None]:
        try:
            yield
        except RunGone:  # other arms could not be stored, either
            raise
        except EvalkitError as error:
            if len(self.orders) == 1:
                raise
            self.session.reporter.problem(error)
            self.problems.append(error)


def placing_of(spec: RunSpec) -> Placing:
    """How an engine in this process runs a model; other engines have devices of their own."""
    only = spec.devices[0] if len(spec.devices) == 1 else spec.device
    device = f"cuda:{only}" if only.isdigit() else only
    shown = (spec.max_frames, spec.visual_tokens)
    return Placing(
        spec.dtype,
        device,
        spec.device_map,
        *shown,
        spec.compile,
        _batching(spec),
        spec.processor,
        processor_if_needed=len({arm.model for arm in spec.arms()}) > 1,
    )


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


def _invocation(spec: RunSpec) -> Invocation:
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


def task_entry(task: Task, samples: Sequence[Indexed], mc_logits: bool) -> TaskEntry:
    """What the manifest says of a task."""
    chosen = mc_logits and any(letters_of(each.sample) for each in samples)
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
