"""Carries out a :class:`RunSpec`: plans its systems, answers what is missing, scores, writes the views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.config.labels import labels_by_system
from evalkit.config.run_spec import RunSpec
from evalkit.core import provenance
from evalkit.core.errors import DeviceLost, EvalkitError, RunGone
from evalkit.engine.executors.base import Executor, ModelSpec
from evalkit.engine.optimizations import Optimizations
from evalkit.engine.worker_pool import start_fork_server
from evalkit.models.checkpoints.series import with_all_steps
from evalkit.runner.answering import Answering, with_reading_rule
from evalkit.runner.engine_options import check_engine, executor_of, load_config_of
from evalkit.runner.inputs import load_inputs, load_tasks, open_tasks
from evalkit.runner.manifest_entries import new_invocation, scoring_of
from evalkit.runner.planned import PlannedSystem
from evalkit.runner.repeat import InputWatch, reuse_finished
from evalkit.runner.reporter import Reporter
from evalkit.runner.system_run import SystemRun
from evalkit.runner.work import work_of
from evalkit.scoring.finalize import RunResult, finalize
from evalkit.store import RunDir


def run_spec(spec: RunSpec, reporter: Reporter) -> RunResult:
    """Run what a spec asks for to its end, or as far as it goes.

    A system whose checkpoint can't be loaded is reported and left out; the others go on. A command that was
    finished before, with the same checkpoints, data and code, is answered from what is stored.

    Raises:
        EvalkitError: the spec itself or its data can't be used, or another process is answering the same;
            nothing was run.
    """
    check_engine(spec)
    path = spec.run_path()
    spec = with_reading_rule(with_all_steps(spec))
    labels_by_system(spec)  # a label that fits no system shows before anything is loaded
    run = RunDir.create(path)
    if run.begun:
        scoring_of(spec, run.manifest())
    invocation = new_invocation(spec)
    stored = reuse_finished(run, invocation)
    if stored is not None:
        reporter.note("finished before, and nothing has changed since: nothing is loaded")
        return stored
    for note in invocation.notes:
        reporter.note(note)
    Optimizations.without(*spec.without)  # a misspelt one shows before anything is loaded
    specs = [ModelSpec(system.model, system.rope, load_config_of(spec)) for system in spec.systems()]
    if spec.workers != 0:
        start_fork_server()
    tasks = load_tasks(spec)
    for note in Answering.of(spec).notes(tasks):
        reporter.note(note)
    watch = InputWatch.start(spec, tasks)
    tasks = open_tasks(tasks, spec.data_root)
    reporter.phase(f"reading the samples of {len(tasks)} task{'s' if len(tasks) > 1 else ''}")
    inputs = load_inputs(spec, tasks)
    invocation = invocation.model_copy(update={"revision": provenance.git_revision(Path(__file__).parent)})
    system_run = SystemRun(spec=spec, inputs=inputs, run=run, invocation=invocation, reporter=reporter)
    problems = _Problems(reporter, raised=len(specs) == 1)
    with closing(executor_of(spec)) as executor:
        planned = plan_systems(system_run, executor, specs, problems)
        watch.set_checkpoints([system.model_info for system in planned])
        with pending_systems(system_run, planned) as pending:
            while pending:
                loaded = 1
                reporter.phase(f"loading {pending[0].name}{' and compiling it' if spec.compile else ''}")
                with problems.collected():
                    systems = system_run.load(executor, pending)
                    loaded = len(systems)
                    system_run.answer(executor, systems)
                pending = pending[loaded:]
    if not system_run.registered:
        raise type(problems.found[0])(
            "nothing was run", f"none of the {len(specs)} systems could be loaded", "see above"
        )
    reporter.phase("scoring")
    seen = None if problems.found else watch.unchanged()
    return finalize(run, tasks, system_run.invocation, problems=problems.found, inputs=seen)


@dataclass
class _Problems:
    """What went wrong with single systems, each of which is left out; ``raised`` where there is only one."""

    reporter: Reporter
    raised: bool
    found: list[EvalkitError] = field(default_factory=list)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Report a problem of the block, and go on behind it."""
        try:
            yield
        except (RunGone, DeviceLost):  # other systems could not be stored, or not be run, either
            raise
        except EvalkitError as error:
            if self.raised:
                raise
            self.reporter.problem(error)
            self.found.append(error)


def plan_systems(
    system_run: SystemRun, executor: Executor, specs: Sequence[ModelSpec], problems: _Problems
) -> list[PlannedSystem]:
    """What each system is asked; one that has all its answers is registered, since it needn't be loaded."""
    planned = []
    records = system_run.run.journal().records
    for spec in specs:
        with problems.collected():
            system = system_run.plan(spec, executor.describe(spec))
            planned.append(system)
            for note in system.model_info.notes:
                system_run.reporter.note(f"{system.name}: {note}")
            if not system_run.pending_keys(system, records):
                system_run.register([system])
                stored = f"all {len(system.requests)} samples are stored already"
                system_run.reporter.note(f"{system.name}: {stored}")
    answered = {key for key, record in records.items() if not record.failed}
    system_run.reporter.planned(work_of(planned, answered))
    return planned


@contextmanager
def pending_systems(system_run: SystemRun, planned: Sequence[PlannedSystem]) -> Iterator[list[PlannedSystem]]:
    """The systems with samples to answer, locked so that no other process answers them meanwhile.

    With ``--wait``, another process may be answering some: it is waited for, and what it has completed is
    registered without being loaded.
    """
    run, wait = system_run.run, system_run.spec.wait
    records = run.journal().records
    keys = [system_run.pending_keys(system, records) for system in planned]
    pending = [system for system, own in zip(planned, keys, strict=True) if own]
    every = {key for own in keys for key in own}
    names = [name for system in pending for name in system.lock_names(every)]
    waiting = system_run.reporter.note if wait else None
    with run.answer_locks(names, system_run.invocation.command, waiting):
        yield list(_still_pending(system_run, pending)) if wait else pending


def _still_pending(system_run: SystemRun, pending: Sequence[PlannedSystem]) -> Iterator[PlannedSystem]:
    records = system_run.run.journal().records
    for system in pending:
        if system_run.pending_keys(system, records):
            yield system
        else:
            system_run.register([system])
