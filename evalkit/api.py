"""What the command line does, from Python.

>>> from evalkit import evaluate, compare  # doctest: +SKIP
>>> evaluate("tiny", "mini", ropes=["mrope", "mrope-i"], output="results/a")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.bridges.lmms import StoredFigures
from evalkit.execute import Outcome, Reporter, Silent, execute, rescore
from evalkit.metrics.base import Metric
from evalkit.registry import load_task
from evalkit.report.aggregate import Cell, Column, cell_of
from evalkit.report.comparison import Arm, Comparison, check_comparable
from evalkit.report.leaderboard import RunFacts, rows_of, write
from evalkit.report.reference import load_reference, with_reference
from evalkit.spec import RunSpec, split_list
from evalkit.store import Record, RunDir

PathLike = str | Path


def evaluate(
    models: str | Sequence[str],
    tasks: str | Sequence[str],
    ropes: str | Sequence[str] = (),
    *,
    reporter: Reporter | None = None,
    **options: Any,
) -> Outcome:
    """Run models with RoPE variants on tasks; the arguments are those of ``RunSpec``.

    Running the same order again does only what is missing.

    Raises:
        EvalkitError: the order or its data can't be used.
    """
    spec = RunSpec(models=_list(models), tasks=_list(tasks), ropes=_list(ropes), **options)
    return execute(spec, reporter or Silent())


def score_run(run: PathLike, official_random: int | None = None) -> Outcome:
    """Score a stored run again, without model or data; ``official_random`` seeds the official
    scripts that draw an answer where they can read none.
    """
    return rescore(RunDir.open(Path(run)), official_random=official_random)


def compare(*runs: PathLike, reference: str | None = None) -> Comparison:
    """Put the arms of finished runs side by side; with ``reference``, a published table beside them.

    Raises:
        UsageError: a run is missing or unscored, two arms were asked different questions, or there is
            no such reference.
    """
    published = load_reference(reference) if reference else None
    opened = [RunDir.open(Path(run)) for run in runs]
    parts = [(run, run.manifest(), _by_arm(run.records())) for run in opened]
    arms, records, sizes = [], {}, {}
    for run, manifest, found in parts:
        for arm in _arms(run, manifest):
            name = arm.name if arm.name not in records else f"{arm.name} ({run.name})"
            records[name] = found.get(arm.name, {})
            sizes[name] = {task["name"]: task.get("size") for task in manifest["tasks"]}
            arms.append(Arm(**{**vars(arm), "name": name}))
    check_comparable(arms, records)
    comparison = _merge([_comparison(run, run.records()) for run in opened], arms)
    return with_reference(comparison, published, sizes) if published else comparison


def summarise(outcome: Outcome) -> Comparison:
    """The comparison table of one run, as far as it got; also stored as ``scores.json``."""
    comparison = _comparison(outcome.run, outcome.records)
    outcome.run.write_scores(comparison.to_json())
    return comparison


def leaderboard(runs: Sequence[PathLike], target: PathLike) -> int:
    """Write the arms of finished runs into a leaderboard CSV; return its number of rows."""
    rows: list[dict[str, Any]] = []
    for path in runs:
        run = RunDir.open(Path(path))
        manifest = run.manifest()
        rows += rows_of(
            RunFacts(
                comparison=_comparison(run, run.records()),
                subset=manifest["spec"].get("subset") or manifest["spec"]["limit"],
                version=manifest["versions"].get("evalkit", "unknown"),
                date=str(manifest.get("finished", manifest["created"]))[:10],
                revisions={task["name"]: task["dataset"].get("revision", "") for task in manifest["tasks"]},
            )
        )
    return write(Path(target), rows)


def _comparison(run: RunDir, records: Sequence[Record]) -> Comparison:
    manifest, plan = run.manifest(), run.plan()
    folders = tuple(manifest["spec"]["tasks_dirs"])
    seed = manifest["spec"].get("official_random")
    columns = [
        Column(
            task["name"],
            task["category"],
            task["title"],
            task["metric"] + (f" by {task['scored_by']}" if "scored_by" in task else ""),
            tuple(task["range"]),
            task.get("paper_row"),
        )
        for task in manifest["tasks"]
        if not task.get("submission")
    ]
    described = {task["name"]: task for task in manifest["tasks"]}
    found = _by_arm(records)
    cells: dict[str, dict[str, Cell]] = {}
    for arm, keys in plan.items():
        answered = found.get(arm, {})
        cells[arm] = {
            column.task: cell_of(
                arm,
                column,
                answered.get(column.task, []),
                len(keys[column.task]),
                _metric(described[column.task], arm, folders),
                seed,
            )
            for column in columns
            if keys.get(column.task)
        }
    return Comparison([arm for arm in _arms(run, manifest) if arm.name in cells], columns, cells)


def _metric(task: dict[str, Any], arm: str, folders: tuple[str, ...]) -> Metric:
    """What turns an arm's records of a task into figures; those of another program are stored."""
    if "figures" in task:
        return StoredFigures(task["metric"], tuple(task["range"]), task["figures"].get(arm, {}))
    return load_task(task["name"], folders).metric


def _merge(parts: Sequence[Comparison], arms: Sequence[Arm]) -> Comparison:
    """One table out of several; ``arms`` has the rows' final names, in the same order."""
    columns = list(dict.fromkeys(column for part in parts for column in part.columns))
    rows = [part.cells[arm.name] for part in parts for arm in part.arms]
    return Comparison(arms, columns, {arm.name: row for arm, row in zip(arms, rows, strict=True)})


def _arms(run: RunDir, manifest: dict[str, Any]) -> list[Arm]:
    return [
        Arm(arm["arm"], arm["model"], arm["rope"], arm["family"], arm["fingerprint"], run.name)
        for arm in manifest["arms"]
    ]


def _by_arm(records: Sequence[Record]) -> dict[str, dict[str, list[Record]]]:
    found: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        found.setdefault(record.arm, {}).setdefault(record.task, []).append(record)
    return found


def _list(value: str | Sequence[str]) -> tuple[str, ...]:
    return split_list([value] if isinstance(value, str) else value)
