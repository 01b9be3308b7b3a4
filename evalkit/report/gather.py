"""Several runs put together: their comparison, its records, and the run of each arm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from evalkit.core.console import scrub
from evalkit.core.registry import load_task, task_source
from evalkit.core.task import Task
from evalkit.metrics.base import Metric
from evalkit.report.comparability import (
    answering_differences,
    check_comparable,
    engine_differences,
    metric_differences,
    origin_differences,
    protocol_differences,
    refuse_differences,
    restrict_to_shared,
    scoring_differences,
)
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.labels import Labels, shown_names, with_labels
from evalkit.report.results import RecordsByTask, Results, open_run
from evalkit.report.steps import counted
from evalkit.store import Evaluation, RunDir
from evalkit.store.records_table import sample_ids

_COMPARE_ANSWERS = (
    "see `evalkit diff RUN_A RUN_B`; to compare the answers all the same, with that said beside the table: "
    "`--allow-mismatch`"
)
_ONE_ENGINE = (
    "see how much that changes by `evalkit compare --backend-parity`, and compare what one engine answered; "
    "or compare all the same (`--allow-mismatch`)"
)
_ONE_PROTOCOL = (
    "use one evalkit version, one way of asking and of scoring (`evalkit score`); or compare all the "
    "same (`--allow-mismatch`)"
)


@dataclass(frozen=True)
class CombinedRuns:
    """Runs put together; ``origin`` maps an arm's name to its run's results and its name there."""

    comparison: Comparison
    records: Mapping[str, RecordsByTask]
    origin: Mapping[str, tuple[Results, str]]

    def metric(self, arm: str, task: str) -> Metric:
        """The metric that scored an arm's records of a task."""
        results, own = self.origin[arm]
        for part, name in ((results, own), *self.origin.values()):
            for each in part.evaluations:
                if (each.arm, each.task.name) == (name, task):
                    return part.metric(each)
        raise KeyError(task)

    def first_ids(self, task: str, count: int) -> set[str]:
        """Ids of the first samples of a task that any arm has."""
        ids = dict.fromkeys(
            sample_id for tasks in self.records.values() for sample_id in sample_ids(tasks.get(task, ()))
        )
        return set(list(ids)[:count])

    def tasks(self, name: str) -> list[Task]:
        """The task of a name, as a list; empty if another program scored it, or its file is not the same."""
        for results, _ in self.origin.values():
            for each in results.evaluations:
                if each.task.name == name:
                    return [] if each.task.scored_by else _task_there(results.run, each)
        return []

    def sizes(self) -> dict[str, dict[str, int | None]]:
        """How many samples the benchmarks have, by arm and task."""
        return {
            name: {each.task.name: each.task.size for each in results.evaluations}
            for name, (results, _) in self.origin.items()
        }


def gather(
    paths: Sequence[str | Path], allow_mismatch: bool = False, labels: Labels | None = None
) -> CombinedRuns:
    """Put runs together, each path once. Arms go by their labels, those of their runs or the given ones; with
    None for ``labels`` by their names, and labels stay beside them.

    Raises:
        UsageError: a run is missing or unscored, two arms were asked different questions, or labels don't
        tell
            arms apart.
    """
    runs = list({path.resolve(): path for path in map(Path, paths)}.values())
    names = run_names(runs)
    parts = [open_run(RunDir.open(path)) for path in counted(runs, "reading run")]
    arms: list[Arm] = []
    records: dict[str, RecordsByTask] = {}
    origin: dict[str, tuple[Results, str]] = {}
    for run, part in zip(names, parts, strict=True):
        found = part.by_arm()
        for arm in part.arms(run):
            # Even with its run's name added, an arm's name may be that of an arm of another run.
            name = _free(arm.name, run, records)
            records[name] = found[arm.name]
            origin[name] = (part, arm.name)
            arms.append(replace(arm, name=name))
    if labels is not None:
        arms = with_labels(arms, labels)
        shown = shown_names(arms)
        arms = [replace(arm, name=shown[arm.name]) for arm in arms]
        records = {shown[name]: found for name, found in records.items()}
        origin = {shown[name]: place for name, place in origin.items()}
    evaluated = [
        (f"{each.arm} ({run})", each)
        for run, part in zip(names, parts, strict=True)
        for each in part.evaluations
    ]
    asked = [(who, each.task) for who, each in evaluated]
    scored = {run: part.manifest.scoring for run, part in zip(names, parts, strict=True)}
    origins = chain(origin_differences(evaluated), answering_differences(evaluated))
    engines = engine_differences(arms)
    protocols = chain(protocol_differences(asked), metric_differences(evaluated), scoring_differences(scored))
    notes: list[str] = []
    if allow_mismatch:
        notes = restrict_to_shared(arms, records)
        notes += [f"mismatch on {where}: {what}" for where, what in chain(origins, engines, protocols)]
    else:
        refuse_differences(origins, _COMPARE_ANSWERS)
        refuse_differences(engines, _ONE_ENGINE)
        check_comparable(arms, records)
        refuse_differences(protocols, _ONE_PROTOCOL)
    comparison = _merged(arms, _kept(parts, origin, records), records if allow_mismatch else None)
    for name, (part, own) in origin.items():
        notes += part.import_notes(own, name)
    return CombinedRuns(replace(comparison, notes=notes), records, origin)


def run_names(paths: Sequence[Path]) -> list[str]:
    """Names of run directories: the last parts of their paths, as many as it takes to tell them apart.

    >>> run_names([Path("/a/seed1/run"), Path("/a/seed2/run"), Path("/b/other")])
    ['seed1/run', 'seed2/run', 'other']
    """
    parts = [path.resolve().parts for path in paths]
    names = ["/".join(each[-1:]) for each in parts]
    for length in range(2, max(map(len, parts), default=0) + 1):
        repeated = {name for name, count in Counter(names).items() if count > 1}
        names = [
            "/".join(each[-length:]).replace("//", "/") if name in repeated else name
            for each, name in zip(parts, names, strict=True)
        ]
    hidden = list(map(scrub, names))
    earlier = [hidden[:place].count(name) for place, name in enumerate(hidden)]
    return [f"{name} ({count + 1})" if count else name for name, count in zip(hidden, earlier, strict=True)]


def _task_there(run: RunDir, evaluation: Evaluation) -> list[Task]:
    folders, known = run.outside(evaluation.tasks_dirs), evaluation.scored_with
    source = task_source(evaluation.task.name, folders)
    changed = source and known and known.task not in (None, source.digest) and source.origin == "tasks-dir"
    return [] if source is None or changed else [load_task(evaluation.task.name, folders)]


def _free(name: str, run: str, taken: Mapping[str, object]) -> str:
    wanted, number = name, 1
    while wanted in taken:
        wanted = f"{name} ({run})" if number == 1 else f"{name} ({run}, {number})"
        number += 1
    return wanted


def _kept(
    parts: Sequence[Results],
    origin: Mapping[str, tuple[Results, str]],
    records: Mapping[str, RecordsByTask],
) -> list[Results]:
    """The runs with only the records that are compared."""
    found = []
    for part in parts:
        names = {own: name for name, (results, own) in origin.items() if results is part}
        kept = {each.id: records[names[each.arm]].get(each.task.name, []) for each in part.evaluations}
        found.append(replace(part, records=kept))
    return found


def _merged(
    arms: Sequence[Arm], parts: Sequence[Results], shared: Mapping[str, RecordsByTask] | None
) -> Comparison:
    """One comparison of several runs; with ``shared`` records, no more samples than these are expected."""
    tables = [part.comparison() for part in parts]
    columns = {column.task: column for table in reversed(tables) for column in reversed(table.columns)}
    order = dict.fromkeys(column.task for table in tables for column in table.columns)
    rows = [cells for table in tables for cells in table.cells.values()]
    cells = {
        arm.name: {task: replace(cell, arm=arm.name) for task, cell in row.items()}
        for arm, row in zip(arms, rows, strict=True)
    }
    if shared is not None:
        cells = {
            name: {
                task: replace(cell, expected=len(shared[name].get(task, ()))) for task, cell in row.items()
            }
            for name, row in cells.items()
        }
    return Comparison(arms, [columns[task] for task in order], cells)
