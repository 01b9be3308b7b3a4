"""``evalkit verify``: every figure of a run computed again from its journal, by what scored it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from evalkit.core.atomic_files import write_atomic
from evalkit.core.errors import EvalkitError, ExitCode, UsageError
from evalkit.core.registry import load_stored_task, load_task, task_source
from evalkit.core.strict_json import finite_json
from evalkit.core.task_source import TaskSource, files_digest, is_inside
from evalkit.metrics.base import Metric
from evalkit.metrics.description import metric_name, parameters_of
from evalkit.report.results import Results
from evalkit.scoring.finalize import score_evaluations
from evalkit.scoring.scorers import Scorer, evalkit_version, scorer_of, scoring_code, stored_scorer
from evalkit.store import Evaluation, Record, RunDir, ScoredWith

State = Literal["same", "different", "not checked"]
Subject = Literal["figures", "code", "task", "metric", "journal"]
SUBJECTS: tuple[Subject, ...] = ("figures", "code", "task", "metric", "journal")


@dataclass(frozen=True)
class Finding:
    """Something of a run that is not as when it was scored, or can't be told; ``where`` says of what."""

    subject: Subject
    state: State
    where: str
    why: str


@dataclass(frozen=True)
class Verification:
    """What :func:`verify_run` found; ``figures`` is the number of figures that were computed again."""

    figures: int
    findings: Sequence[Finding] = ()

    def state(self, subject: Subject) -> State:
        """The worst that was found of a subject."""
        states = {each.state for each in self.findings if each.subject == subject}
        return "different" if "different" in states else "not checked" if states else "same"

    @property
    def exit_code(self) -> ExitCode:
        """1 if anything differs, 3 if something can't be told, else 0."""
        states = {each.state for each in self.findings}
        if "different" in states:
            return ExitCode.CHECK_FAILED
        return ExitCode.INCOMPLETE if states else ExitCode.OK


def verify_run(run: RunDir, tasks_dirs: Sequence[str] = (), *, stored_tasks: bool = False) -> Verification:
    """Score a run again from its journal, and compare all figures, evalkit's code, the tasks' sources and the
    metrics with those that scored it; nothing is written.

    Task files are executed that are evalkit's own, in ``tasks_dirs``, or still at their place with their
    content; the run's copies of them only with ``stored_tasks``. Without its task, a metric of evalkit's is
    built from what the manifest says of it.

    Raises:
        UsageError: the run was never scored, or a file of it is damaged.
    """
    manifest = run.manifest()
    stored, scores, unread = _views(run)
    with tempfile.TemporaryDirectory() as folder:
        check = _Check(run, tuple(tasks_dirs), Path(folder) if stored_tasks else None)
        found, damaged = score_evaluations(run, manifest.results(), check.scorer)
        again = found.only(each for each in found.evaluations if each.id in found.metrics)
        check.findings += [Finding("journal", "different", "journal", each) for each in damaged]
        check.findings += unread
        if not unread:
            check.findings += _record_differences(again, stored)
            check.findings += _figure_differences(again, scores)
    return Verification(_count(again), tuple(_grouped(check.findings)))


def _views(run: RunDir) -> tuple[list[Record], Any, list[Finding]]:
    """What the last scoring wrote; a damaged file is a finding.

    Raises:
        UsageError: the run was never scored.
    """
    if not (run.path / "records.jsonl").is_file():
        run.records()  # raises
    try:
        return run.records(), run.scores(), []
    except UsageError as error:
        return [], None, [Finding("figures", "different", error.what, error.why)]


@dataclass
class _Check:
    """Compares what scored each evaluation with what is there now; ``folder`` is where copies of the run's
    tasks may be executed, None if they may not.
    """

    run: RunDir
    tasks_dirs: tuple[str, ...]
    folder: Path | None
    findings: list[Finding] = field(default_factory=list)
    loaded: dict[tuple[str, str | None], Scorer | None] = field(default_factory=dict)

    def scorer(self, evaluation: Evaluation) -> Scorer | None:
        """What scores an evaluation again; None if nothing can."""
        task, known = evaluation.task, evaluation.scored_with
        if task.scored_by is not None:
            self._note("figures", "not checked", evaluation, f"{task.scored_by} scored it")
            return None
        if known is None:
            self._note("code", "not checked", evaluation, "an earlier evalkit did not store what scored it")
        elif known.code != scoring_code():
            now = f"evalkit {evalkit_version()} (code {scoring_code()[:12]})"
            why = f"evalkit {known.evalkit} (code {known.code[:12]}) scored it; this is {now}"
            self.findings.append(Finding("code", "different", "evalkit", why))
        place = (task.name, known.task if known else None)
        if place not in self.loaded:
            self.loaded[place] = self._load(evaluation, known)
        found = self.loaded[place]
        if found is not None and known is not None:
            self._compare_metrics(evaluation, known, found.metric)
        found = found or stored_scorer(evaluation)
        if found is None:
            why = "its metric is none of evalkit's, and the task is not there as it was"
            self._note("figures", "not checked", evaluation, why)
        return found

    def _load(self, evaluation: Evaluation, known: ScoredWith | None) -> Scorer | None:
        """The scorer of the task; None if the task is gone, or is another that may not be executed."""
        name, stored = evaluation.task.name, known.task if known else None
        copy = self._stored(evaluation, known) if known and stored else None
        if self.folder is not None and copy is not None and stored is not None:
            for each, content in copy.files.items():
                write_atomic(self.folder / stored / each, content, durable=False)
            return scorer_of(load_stored_task(name, self.folder / stored, copy))
        folders = self.tasks_dirs or self.run.outside(evaluation.tasks_dirs)
        source = task_source(name, folders)
        if source is None:
            hint = "say where it is now by `--tasks-dir`"
            hint += ", or execute the run's copy by `--stored-tasks`" if copy else ""
            self._note("task", "different", evaluation, f"its file is not there any more; {hint}")
            return None
        trusted = bool(self.tasks_dirs) or source.origin != "tasks-dir"  # what is installed may be executed
        if stored is None:
            self._note("task", "not checked", evaluation, "the run does not say which source scored it")
        elif source.digest != stored:
            self._note("task", "different", evaluation, _changed(source, copy))
            if not trusted:
                return None
        try:
            return scorer_of(load_task(name, folders))
        except EvalkitError as error:
            self._note("task", "different", evaluation, f"it can't be loaded: {error.what}: {error.why}")
            return None

    def _stored(self, evaluation: Evaluation, known: ScoredWith) -> TaskSource | None:
        """The run's copy of a task's source, if it is whole."""
        digest = known.task or ""
        files = self.run.stored_task(digest)
        if files_digest(files) == digest and known.file in files and all(map(is_inside, files)):
            return TaskSource("tasks-dir", str(known.file), files)
        what = "was changed" if files else "is missing"
        self._note("task", "different", evaluation, f"the run's copy of it, tasks/{digest}, {what}")
        return None

    def _compare_metrics(self, evaluation: Evaluation, known: ScoredWith, metric: Metric) -> None:
        name, parameters = metric_name(metric), parameters_of(metric)
        if (name, parameters) != (known.metric, known.parameters):
            self._note(
                "metric",
                "different",
                evaluation,
                f"{known.metric} {known.parameters or ''} scored it, the task has {name} {parameters or ''}",
            )

    def _note(self, subject: Subject, state: State, evaluation: Evaluation, why: str) -> None:
        self.findings.append(Finding(subject, state, evaluation.task.name, why))


def _changed(source: TaskSource, copy: TaskSource | None) -> str:
    names = sorted(
        name
        for name in {**source.files, **(copy.files if copy else {})}
        if copy is None or source.files.get(name) != copy.files.get(name)
    )
    return f"its source is another: {', '.join(names)}"


def _record_differences(again: Results, stored: Sequence[Record]) -> Iterator[Finding]:
    """Samples whose stored record is another than that of the journal, scored again."""
    known = {(each.arm, each.key): each for each in stored}
    for evaluation in again.evaluations:
        own = again.records[evaluation.id]
        wrong = [
            each for each in own if finite_json(each.to_json()) != _json(known.get((each.arm, each.key)))
        ]
        if wrong:
            first = wrong[0]
            what = _first_difference(first, known.get((first.arm, first.key)))
            yield Finding(
                "figures",
                "different",
                f"{evaluation.arm} {evaluation.task.name}",
                f"{len(wrong)} of {len(own)} records; the first, sample {first.sample_id}: {what}",
            )


def _json(record: Record | None) -> Any:
    return None if record is None else finite_json(record.to_json())


def _first_difference(again: Record, stored: Record | None) -> str:
    if stored is None:
        return "records.jsonl lacks it"
    one, two = _json(stored), _json(again)
    name = next(each for each in {**one, **two} if one.get(each) != two.get(each))
    return f"`{name}` is {one.get(name)!r}, again it is {two.get(name)!r}"


def _figure_differences(again: Results, stored: Any) -> Iterator[Finding]:
    """Figures of scores.json that come out otherwise."""
    known = _cells(stored)
    for arm, tasks in _cells(finite_json(again.comparison().to_json())).items():
        for task, cell in tasks.items():
            wrong = list(_unlike(known.get(arm, {}).get(task), cell))
            if wrong:
                more = f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""
                yield Finding("figures", "different", f"{arm} {task}", f"{wrong[0]}{more}")


def _cells(scores: Any) -> dict[str, dict[str, Any]]:
    try:
        return {row["name"]: dict(row["tasks"]) for row in scores["arms"]}
    except (KeyError, TypeError, ValueError):
        return {}


def _unlike(stored: Any, again: Any, name: str = "") -> Iterator[str]:
    """Where two JSON values differ; a last bit of a number, which another processor may round, is no
    difference.
    """
    if isinstance(stored, Mapping) and isinstance(again, Mapping):
        for key in {**stored, **again}:
            yield from _unlike(stored.get(key), again.get(key), f"{name}.{key}" if name else key)
    elif isinstance(stored, list | tuple) and isinstance(again, list | tuple) and len(stored) == len(again):
        for place, (one, two) in enumerate(zip(stored, again, strict=True)):
            yield from _unlike(one, two, f"{name}[{place}]")
    elif isinstance(stored, int | float) and isinstance(again, int | float):
        if not math.isclose(stored, again, rel_tol=1e-9, abs_tol=1e-12):
            yield f"`{name}` is {stored}, again it is {again}"
    elif stored != again:
        yield f"`{name or 'the cell'}` is {stored!r}, again it is {again!r}"


def _count(again: Results) -> int:
    """How many figures were computed again: each number of each cell."""
    cells = _cells(finite_json(again.comparison().to_json()))
    return sum(_numbers(cell) for tasks in cells.values() for cell in tasks.values())


def _numbers(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_numbers, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_numbers, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def _grouped(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Each finding once, by subject."""
    for subject in SUBJECTS:
        yield from dict.fromkeys(each for each in findings if each.subject == subject)
