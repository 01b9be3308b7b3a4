"""What scores an evaluation: its task's metric, as the task is now, or as the run has it stored."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from evalkit.core import provenance
from evalkit.core.errors import UsageError
from evalkit.core.registry import load_task, task_source
from evalkit.core.task import Task
from evalkit.core.task_source import TaskSource
from evalkit.metrics.base import FileMetric, Metric, Scored, UnitMetric
from evalkit.metrics.description import build_metric, metric_name, parameters_of
from evalkit.store import Evaluation, Record, RunDir, ScoredWith

_PACKAGE = Path(__file__).resolve().parents[1]
_CODE = (
    "metrics/*.py",
    "scoring/score.py",
    "report/aggregate.py",
    "report/intervals.py",
    "report/repetitions.py",
)
"""The files of evalkit that decide a score or a figure of it."""


@dataclass(frozen=True)
class Scorer:
    """A metric, and the source of the task that it is of; None: the source is the one that the run has."""

    metric: Metric
    source: TaskSource | None = None


# Returns what scores an evaluation; None if that is another program, or its task is gone with its metric.
ScorerOf = Callable[[Evaluation], Scorer | None]


def scorer_of(task: Task) -> Scorer:
    """The scorer of a loaded task."""
    return Scorer(task.metric, task.source)


@lru_cache(maxsize=1)
def scoring_code() -> str:
    """SHA-256 over evalkit's own code that decides scores and figures."""
    total = hashlib.sha256()
    for path in sorted(path for pattern in _CODE for path in _PACKAGE.glob(pattern)):
        total.update(f"{path.relative_to(_PACKAGE).as_posix()}\n".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def evalkit_version() -> str:
    """The installed version."""
    return provenance.versions().get("evalkit", "unknown")


def registry_scorer(run: RunDir, tasks_dirs: Sequence[str] = (), *, needed: bool = True) -> ScorerOf:
    """Scorers of the tasks that evalkit itself scores: from ``tasks_dirs``, else from where the run has them
    from. Of a task that is gone, a metric of evalkit's is built from what the manifest says of it.

    Task files within the run are its own copies: they are executed only if ``tasks_dirs`` names their folder.

    Raises:
        UsageError: by the function that is returned: a metric that only the task's code has is ``needed``,
            and the task is gone.
    """

    @cache
    def load(name: str, folders: tuple[str, ...]) -> Scorer | None:
        return scorer_of(load_task(name, folders)) if task_source(name, folders) else None

    def find(evaluation: Evaluation) -> Scorer | None:
        if evaluation.task.scored_by is not None:
            return None
        folders = tuple(tasks_dirs) or run.outside(evaluation.tasks_dirs)
        found = load(evaluation.task.name, folders) or stored_scorer(evaluation)
        if found is None and needed:
            raise gone(run, evaluation)
        return found

    return find


def stored_scorer(evaluation: Evaluation) -> Scorer | None:
    """The metric that a run says scored an evaluation, if it is one of evalkit's own."""
    known = evaluation.scored_with
    if known is None or known.parameters is None:
        return None
    try:
        return Scorer(build_metric(known.metric, known.parameters))
    except ValueError:
        return None


def gone(run: RunDir, evaluation: Evaluation) -> UsageError:
    """The error for a task that is needed and not there."""
    known, name = evaluation.scored_with, evaluation.task.name
    places = ", ".join(f"`{each}`" for each in evaluation.tasks_dirs) or "evalkit's own tasks"
    copy = run.path / "tasks" / known.task if known and known.task else None
    stored = f"; if you trust the run's copy of it, look at it and give `--tasks-dir {copy}`" if copy else ""
    return UsageError(
        f"task `{name}` is not there",
        f"it is not in {places}, and its metric is none of evalkit's",
        f"say where its file is now: `--tasks-dir DIR`{stored}",
    )


def scored_with(
    run: RunDir, evaluation: Evaluation, scorer: Scorer, records: Sequence[Record], seed: int | None
) -> ScoredWith:
    """What has just scored an evaluation; the task's source is stored."""
    metric, known = scorer.metric, evaluation.scored_with
    parameters = parameters_of(metric)
    if scorer.source is not None:
        run.write_task(scorer.source)
    items = [
        Scored(each.score, each.labels) for each in records if each.score and each.score.value is not None
    ]
    source = scorer.source
    return ScoredWith(
        evalkit=evalkit_version(),
        code=scoring_code(),
        task=source.digest if source else known.task if known else None,
        file=source.file if source else known.file if known else None,
        origin=source.origin if source else known.origin if known else None,
        metric=metric_name(metric),
        parameters=parameters,
        figures=_figures(metric, items, records, seed) if parameters is None else None,
        count=len(items),
        by_units=isinstance(metric, UnitMetric),
    )


def _figures(
    metric: Metric, items: Sequence[Scored], records: Sequence[Record], seed: int | None
) -> dict[str, float]:
    found = metric.summarise(items)
    if isinstance(metric, FileMetric) and items:
        answered = [each for each in records if each.score and each.score.value is not None]
        scores = [each.score for each in answered if each.score]
        found |= metric.file_figures([each.answer() for each in answered], scores, seed)
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}
