"""What the command line does, from Python.

>>> from evalkit import evaluate, compare  # doctest: +SKIP
>>> evaluate("tiny", "mini", ropes=["mrope", "mrope-i"], output="results/a")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.bridges.lmms import StoredFigures
from evalkit.data.cache import MediaCache, cache_root
from evalkit.execute import execute
from evalkit.finish import Outcome, rescore, scored_anew
from evalkit.metrics.base import Metric
from evalkit.metrics.reasoning import TAGS
from evalkit.registry import load_task
from evalkit.report.advice import Advice
from evalkit.report.advice import advise as rank
from evalkit.report.aggregate import BY_LOGITS, Cell, Column, cell_of
from evalkit.report.comparable import check_comparable, check_protocols, restrict_to_shared
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.differences import with_differences
from evalkit.report.leaderboard import RunFacts, rows_of, write
from evalkit.report.leaderboard_check import unsupported
from evalkit.report.leaderboard_page import leaderboard_page
from evalkit.report.page import report_page
from evalkit.report.paired import Correction
from evalkit.report.reference import load_reference, with_reference
from evalkit.report.thumbnails import thumbnails
from evalkit.session import Reporter, Silent
from evalkit.spec import RunSpec, split_list
from evalkit.store import Record, RunDir
from evalkit.task import Task

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


def score_run(run: PathLike, official_random: int | None = None, reasoning: str | None = None) -> Outcome:
    """Score a stored run again, without model or data; ``official_random`` seeds the official
    scripts that draw an answer where they can read none, ``reasoning`` names another rule that separates
    reasoning from answers.
    """
    return rescore(RunDir.open(Path(run)), official_random=official_random, reasoning=reasoning)


def compare(
    *runs: PathLike,
    baseline: str | None = None,
    correction: Correction = "holm",
    allow_mismatch: bool = False,
    reference: str | None = None,
) -> Comparison:
    """Put the arms of finished runs side by side; with ``reference``, a published table beside them.

    With a ``baseline`` (an arm's name or variant), every other arm's paired differences to it are added.
    ``allow_mismatch`` compares the samples that all arms share, and says so, instead of refusing.

    Raises:
        UsageError: a run is missing or unscored, two arms were asked different questions, or there is
            no such baseline or reference.
    """
    published = load_reference(reference) if reference else None
    gathered = _gather(runs, allow_mismatch)
    found = gathered.comparison
    if published:
        found = with_reference(found, published, gathered.sizes())
    if baseline is None:
        return found
    return with_differences(found, gathered.records, gathered.metric, baseline, correction)


def advise(
    *runs: PathLike, weights: Mapping[str, float] | None = None, allow_mismatch: bool = False
) -> Advice:
    """Rank the arms of finished runs for one's own tasks; ``weights`` maps names, globs or categories of
    benchmarks to what they matter.

    Raises:
        UsageError: as for :func:`compare`, or a weight matches no benchmark.
    """
    gathered = _gather(runs, allow_mismatch)
    return rank(gathered.comparison, gathered.records, gathered.metric, weights)


def report(
    *runs: PathLike,
    output: PathLike,
    baseline: str | None = None,
    reference: str | None = None,
    allow_mismatch: bool = False,
    data_root: str | None = None,
    media: int = 200,
) -> Path:
    """Write one self-contained HTML page about finished runs, and return where.

    Differences are to ``baseline``, by default the first arm. ``media`` samples of each task get a
    picture, where their data are at hand (``data_root``, or drawn on the spot).

    Raises:
        UsageError: as for :func:`compare`.
    """
    gathered = _gather(runs, allow_mismatch)
    found = gathered.comparison
    if reference:
        found = with_reference(found, load_reference(reference), gathered.sizes())
    found = with_differences(found, gathered.records, gathered.metric, baseline or found.arms[0].name)
    pictures: dict[tuple[str, str], str] = {}
    cache = MediaCache(cache_root() / "media")
    for column in found.columns if media else ():
        ids = gathered.first_ids(column.task, media)
        for task in gathered.tasks(column.task):
            pictures |= thumbnails(task, ids, data_root, cache)
    title = f"evalkit: {', '.join(Path(run).name for run in runs)}"
    target = Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(report_page(found, gathered.records, pictures, title), encoding="utf-8")
    return target


@dataclass(frozen=True)
class _Gathered:
    """Runs put together: their comparison, the records behind it, and where each arm is from."""

    comparison: Comparison
    records: Mapping[str, dict[str, list[Record]]]
    origin: Mapping[str, tuple[_Part, str]]

    def metric(self, arm: str, task: str) -> Metric:
        """What scored an arm's records of a task."""
        part, own = self.origin[arm]
        described = {entry["name"]: entry for entry in part.manifest["tasks"]}
        return _metric(described[task], own, tuple(part.manifest["spec"]["tasks_dirs"]))

    def first_ids(self, task: str, count: int) -> set[str]:
        """Ids of the first samples of a task that any arm has."""
        ids = dict.fromkeys(
            record.sample_id for tasks in self.records.values() for record in tasks.get(task, ())
        )
        return set(list(ids)[:count])

    def tasks(self, name: str) -> list[Task]:
        """The task of a name, unless it is another program's."""
        for part, _ in self.origin.values():
            described = {entry["name"]: entry for entry in part.manifest["tasks"]}
            if name in described:
                folders = tuple(part.manifest["spec"]["tasks_dirs"])
                return [] if "figures" in described[name] else [load_task(name, folders)]
        return []

    def sizes(self) -> dict[str, dict[str, int | None]]:
        """How many samples the benchmarks have, by arm and task."""
        return {
            name: {task["name"]: task.get("size") for task in part.manifest["tasks"]}
            for name, (part, _) in self.origin.items()
        }


def _gather(runs: Sequence[PathLike], allow_mismatch: bool) -> _Gathered:
    opened = [RunDir.open(Path(run)) for run in runs]
    parts = [_Part(run, run.manifest(), _by_arm(run.records())) for run in opened]
    arms: list[Arm] = []
    records: dict[str, dict[str, list[Record]]] = {}
    origin: dict[str, tuple[_Part, str]] = {}
    for part in parts:
        for arm in _arms(part.run, part.manifest):
            name = arm.name if arm.name not in records else f"{arm.name} ({part.run.name})"
            records[name] = dict(part.records.get(arm.name, {}))
            origin[name] = (part, arm.name)
            arms.append(Arm(**{**vars(arm), "name": name}))
    notes: list[str] = []
    if allow_mismatch:
        notes = restrict_to_shared(arms, records)
    else:
        check_comparable(arms, records)
        check_protocols({part.run.name: part.manifest for part in parts})
    merged = _merge([_comparison(part.run, part.kept(origin, records)) for part in parts], arms)
    found = replace(merged, notes=notes)
    return _Gathered(_with_shared_sizes(found, records) if allow_mismatch else found, records, origin)


@dataclass(frozen=True)
class _Part:
    """One run of a comparison."""

    run: RunDir
    manifest: dict[str, Any]
    records: dict[str, dict[str, list[Record]]]

    def kept(
        self, origin: Mapping[str, tuple[_Part, str]], records: Mapping[str, Mapping[str, Sequence[Record]]]
    ) -> list[Record]:
        """This run's records among those that are compared."""
        names = [name for name, (part, _) in origin.items() if part is self]
        return [record for name in names for found in records[name].values() for record in found]


def _with_shared_sizes(
    comparison: Comparison, records: Mapping[str, Mapping[str, Sequence[Record]]]
) -> Comparison:
    """A comparison of shared samples expects no more than these."""
    cells = {
        arm: {task: replace(cell, expected=len(records[arm].get(task, ()))) for task, cell in found.items()}
        for arm, found in comparison.cells.items()
    }
    return replace(comparison, cells=cells)


def summarise(outcome: Outcome) -> Comparison:
    """The comparison table of one run, as far as it got; also stored as ``scores.json``."""
    comparison = _comparison(outcome.run, outcome.records)
    outcome.run.write_scores(comparison.to_json())
    return comparison


def leaderboard(runs: Sequence[PathLike], target: PathLike, page: PathLike | None = None) -> int:
    """Write the arms of finished runs into a leaderboard CSV, and the whole of it into an HTML ``page``;
    return its number of rows.
    """
    opened = [RunDir.open(Path(path)) for path in runs]
    count = write(Path(target), [row for run in opened for row in _leaderboard_rows(run, run.records())])
    if page is not None:
        Path(page).parent.mkdir(parents=True, exist_ok=True)
        Path(page).write_text(leaderboard_page(Path(target)), encoding="utf-8")
    return count


def check_leaderboard(target: PathLike, runs: Sequence[PathLike]) -> list[str]:
    """What a leaderboard CSV says that the runs, scored anew from their journals, don't bear out."""
    opened = [RunDir.open(Path(path)) for path in runs]
    return unsupported(
        Path(target), [row for run in opened for row in _leaderboard_rows(run, scored_anew(run))]
    )


def _leaderboard_rows(run: RunDir, records: Sequence[Record]) -> list[dict[str, Any]]:
    manifest = run.manifest()
    return rows_of(
        RunFacts(
            comparison=_comparison(run, records),
            protocol=_protocol(manifest["spec"]),
            version=manifest["versions"].get("evalkit", "unknown"),
            date=str(manifest.get("finished", manifest["created"]))[:10],
            revisions={task["name"]: task["dataset"].get("revision", "") for task in manifest["tasks"]},
        )
    )


def _protocol(spec: Mapping[str, Any]) -> str:
    """Which samples were asked, and what differs from the paper in how they were shown and answered."""
    limit = spec["limit"]
    parts = [spec.get("subset") or ("full" if limit is None else f"limit-{limit}")]
    parts += [
        f"{name.replace('_', '-')}-{spec[name]}" for name in ("max_frames", "visual_tokens") if spec.get(name)
    ]
    rule = spec.get("reasoning", TAGS)
    parts += [f"reasoning-{rule}"] if rule != TAGS else []
    return " ".join([*parts, *(["mc-logits"] if spec.get("mc_logits") else [])])


def _comparison(run: RunDir, records: Sequence[Record]) -> Comparison:
    manifest, plan = run.manifest(), run.plan()
    folders = tuple(manifest["spec"]["tasks_dirs"])
    seed = manifest["spec"].get("official_random")
    columns = [
        Column(
            task["name"],
            task["category"],
            task["title"],
            _metric_name(task),
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


def _metric_name(task: Mapping[str, Any]) -> str:
    judge = f" by {task['scored_by']}" if "scored_by" in task else ""
    return str(task["metric"]) + judge + (f" {BY_LOGITS}" if "chosen_by" in task else "")


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
