"""The public functions: what the command line does, from Python.

>>> from evalkit import evaluate, compare  # doctest: +SKIP
>>> evaluate("tiny", "mini", ropes=["mrope", "mrope-i"], output="results/a")  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evalkit.config.named_options import changed, takes_run_options
from evalkit.config.recipes import PAPER
from evalkit.config.run_spec import RunSpec
from evalkit.core.atomic_files import write_atomic
from evalkit.core.errors import UsageError
from evalkit.data.media import MEDIA_SECONDS
from evalkit.metrics.reasoning import TAGS
from evalkit.report.ability_runs import probe as probe
from evalkit.report.comparison import Comparison
from evalkit.report.differences import with_differences
from evalkit.report.gather import gather
from evalkit.report.paired import Correction
from evalkit.report.reference import load_reference, with_reference
from evalkit.report.results import Results, open_run
from evalkit.store import RunDir

if TYPE_CHECKING:
    from evalkit.core.types import MediaRef
    from evalkit.data.cache import MediaCache
    from evalkit.report.advice import Advice
    from evalkit.report.run_differences import SettingDifference
    from evalkit.report.seed_rows import GroupBy
    from evalkit.runner.reporter import Reporter
    from evalkit.scoring.finalize import RunResult
    from evalkit.scoring.verify import Verification

# Each function imports what it alone needs: reading stored runs must not wait for what makes them.

PathLike = str | Path
Several = str | Path | Sequence[str | Path | int]


# Several parameters in a line, by what they are about: all of them on one screen.
# fmt: off
@takes_run_options
def evaluate(  # noqa: D417 (the decorator documents them)
    models: Several, tasks: Several, ropes: Several = (), *,
    limit: int | None = None, subset: Literal["ci"] | None = None, processor: PathLike | None = None,
    labels: Mapping[str, str] | None = None, recipe: PathLike = PAPER,
    thinking: Literal["template", "on", "off"] | None = None,
    template_args: Mapping[str, Any] | None = None,
    max_new_tokens: int | None = None, max_reasoning_tokens: int | None = None,
    temperature: float | None = None, top_p: float | None = None, top_k: int | None = None,
    presence_penalty: float | None = None, seed: int | None = None, n: int | None = None,
    output: PathLike | None = None, wait: bool = False, data_root: PathLike | None = None,
    tasks_dirs: Several = (), ropes_dirs: Several = (),
    max_frames: int | None = None, visual_tokens: int | None = None,
    video_backend: Literal["pyav", "decord", "torchcodec"] = "pyav", media_timeout: float = MEDIA_SECONDS,
    mc_logits: bool = False, reasoning: str = TAGS, official_random: int | None = None,
    rate_limits: Mapping[str, float] | None = None, audit: float | None = None,
    dtype: str = "auto", device: str = "auto", devices: Several = (), device_map: str | None = None,
    executor: str = "auto", gpus_per_engine: int | None = None, workers: int | None = None,
    batch_tokens: int | Literal["auto"] | None = None, batch_size: int | None = None,
    without: Several = (), compile: bool = False, deterministic: bool = False,
    lmms_python: PathLike | None = None, lmms_include: Several = (),
    reporter: Reporter | None = None,
) -> RunResult:
    """Run models with RoPE variants on tasks, as ``evalkit run`` does.

    The same call again does only what is missing.

    Args:
        reporter: is told how far it is; None says nothing.

    Returns:
        The scored run: ``result.comparison`` is its table, ``result.to_pandas()`` its answers.

    Raises:
        EvalkitError: an argument or the data can't be used.
    """
    options = {name: value for name, value in locals().items() if name != "reporter"}
    for name in ("labels", "rate_limits", "template_args"):
        options[name] = dict(options[name] or {})
    return run(RunSpec(**changed(options)), reporter)
# fmt: on


def run(spec: RunSpec, reporter: Reporter | None = None) -> RunResult:
    """Run what a spec asks for.

    Raises:
        EvalkitError: the spec or its data can't be used.
    """
    from evalkit.runner.reporter import SilentReporter
    from evalkit.runner.run import run_spec

    return run_spec(with_default_data_root(spec), reporter or SilentReporter())


def plan(spec: RunSpec) -> dict[str, Any]:
    """What :func:`run` would do: the run directory as ``output``, and as ``plan`` the samples, prompt tokens,
    problems and first prompt of every system and task.
    """
    from evalkit.runner.dry_run import plan_run

    return plan_run(with_default_data_root(spec))


def diff_runs(first: PathLike, second: PathLike) -> list[SettingDifference]:
    """Every setting in which two runs differ: identities, tasks, how they were asked and answered, versions.

    Raises:
        UsageError: one is no run.
    """
    from evalkit.report.run_differences import run_differences

    return run_differences(*(RunDir.open(Path(path)).manifest() for path in (first, second)))


def with_default_data_root(spec: RunSpec) -> RunSpec:
    """Without a ``data_root``, data come from the folder that EVALKIT_DATA names, if it is set."""
    folder = os.environ.get("EVALKIT_DATA")
    return spec.with_options(data_root=folder) if spec.data_root is None and folder else spec


def score(
    what: PathLike,
    *,
    task: str | None = None,
    official_random: int | None = None,
    reasoning: str | None = None,
    tasks_dirs: Sequence[str] = (),
) -> RunResult | dict[str, dict[str, Any]]:
    """Score a stored run again, or a file of predictions, as ``evalkit score`` does.

    Args:
        what: the folder of a run (:func:`score_run`), or a file (:func:`score_file`).
        task: of a file: only its lines; whose it is, where another program wrote it.
        official_random: seed for official scripts that draw an answer where they can read none.
        reasoning: rule that separates reasoning from answers; None is what the run says, else ``tags``.
        tasks_dirs: further folders with task files.

    Returns:
        The scored run; of a file scores, rates and notes by task.

    Raises:
        UsageError: it can't be read, or ``task`` is missing.
    """
    if Path(what).is_dir():
        return score_run(what, official_random, reasoning, tasks_dirs)
    return score_file(what, task, official_random, reasoning or TAGS, tasks_dirs)


def score_run(
    run: PathLike,
    official_random: int | None = None,
    reasoning: str | None = None,
    tasks_dirs: Sequence[str] = (),
) -> RunResult:
    """Score a stored run again, without model or data. ``official_random`` seeds the official scripts that
    draw an answer where they can read none; ``reasoning`` is another rule that separates reasoning from
    answers.
    """
    from evalkit.scoring.finalize import rescore

    return rescore(RunDir.open(Path(run)), tuple(tasks_dirs), official_random, reasoning)


def verify(run: PathLike, tasks_dirs: Sequence[str] = (), stored_tasks: bool = False) -> Verification:
    """Compute every figure of a stored run again, and compare what scores with what scored it; nothing is
    written. ``stored_tasks`` executes the run's own copies of task files.
    """
    from evalkit.scoring.verify import verify_run

    return verify_run(RunDir.open(Path(run)), tuple(tasks_dirs), stored_tasks=stored_tasks)


def score_file(
    path: PathLike,
    task: str | None = None,
    official_random: int | None = None,
    reasoning: str = TAGS,
    tasks_dirs: Sequence[str] = (),
    **matching: Any,
) -> dict[str, dict[str, Any]]:
    """Score a file of predictions, or one that lmms-eval, VLMEvalKit or Inspect wrote, without making a run.

    ``matching`` are further options of :class:`evalkit.integrations.interchange.import_run.ImportSpec`, for
    another program's file. Returns scores, rates and notes by task.

    Raises:
        UsageError: the file can't be read, or is another program's and ``task`` is not given.
    """
    from evalkit.integrations.interchange.detect import is_foreign
    from evalkit.integrations.interchange.import_run import ImportSpec
    from evalkit.integrations.interchange.scores import score_answers
    from evalkit.scoring.predictions import score_file as score_predictions

    place, dirs = Path(path), tuple(tasks_dirs)
    if not is_foreign(place):
        return score_predictions(
            place, task=task, tasks_dirs=dirs, official_random=official_random, reasoning=reasoning
        )
    if task is None:
        raise UsageError(
            f"results `{place}` without `--task`",
            "which task of evalkit another program's file is about is not ours to guess",
            "give it with `--task`; see `evalkit tasks`",
        )
    spec = ImportSpec([place], task, "answers", tasks_dirs=dirs, **matching)
    return score_answers(spec, official_random, reasoning)


def import_results(*files: PathLike, task: str, model: str, output: PathLike, **options: Any) -> RunResult:
    """Make a run of files of lmms-eval, VLMEvalKit or Inspect, or add them to one; ``options`` are those of
    :class:`evalkit.integrations.interchange.import_run.ImportSpec`.

    Raises:
        EvalkitError: a file can't be read, or is not about the task.
    """
    from evalkit.integrations.interchange.import_run import ImportSpec, read_answers, store

    run = RunDir.create(Path(output))
    rule = run.manifest().scoring.reasoning if run.begun else TAGS
    return store(read_answers(ImportSpec([Path(path) for path in files], task, model, **options), rule), run)


def export_inspect(
    run: PathLike, output: PathLike, arm: str | None = None, task: str | None = None
) -> list[Path]:
    """Write a stored run as logs of Inspect, one for each system and task, and return where.

    Raises:
        UsageError: the run has no such system or task, or ``output`` is one file and there are several.
        EnvironmentProblem: inspect_ai is not installed.
    """
    from evalkit.integrations.interchange.inspect_export import export

    return export(open_run(RunDir.open(Path(run))), Path(output), arm, task)


def compare(
    *runs: PathLike,
    baseline: str | None = None,
    correction: Correction = "holm",
    allow_mismatch: bool = False,
    reference: str | None = None,
    labels: Mapping[str, str] | None = None,
    group_by: GroupBy | None = None,
) -> Comparison:
    """Put the systems of finished runs side by side; with ``reference``, a published table beside them.

    ``labels`` are what tables call systems, by name, variant or model; for display alone. ``group_by`` makes
    one column of the training seeds of each variant (``rope``) or label. With a ``baseline`` (a system's name
    or variant), every other one's paired differences to it are added. ``allow_mismatch`` compares the samples
    that all systems share, and says so, instead of refusing.

    Raises:
        UsageError: a run is missing or unscored, two systems were asked different questions, or there is
            no such baseline or reference.
    """
    published = load_reference(reference) if reference else None
    if group_by is not None:
        from evalkit.report.seed_rows import group_seeds

        groups = group_seeds(gather(runs, allow_mismatch), group_by, labels or {})
        grouped = groups.comparison(baseline, correction)
        return with_reference(grouped, published, groups.sizes()) if published else grouped
    gathered = gather(runs, allow_mismatch, labels or {})
    found = gathered.comparison
    if published:
        found = with_reference(found, published, gathered.sizes())
    if baseline is None:
        return found
    return with_differences(found, gathered.records, gathered.metric, baseline, correction)


def advise(
    *runs: PathLike,
    weights: Mapping[str, float] | None = None,
    allow_mismatch: bool = False,
    labels: Mapping[str, str] | None = None,
    group_by: GroupBy | None = None,
) -> Advice:
    """Rank the systems of finished runs; ``weights`` maps names, globs or categories of benchmarks to their
    weight; what isn't named counts 1. ``labels`` and ``group_by`` are as for :func:`compare`.

    Raises:
        UsageError: as for :func:`compare`, or a weight matches no benchmark.
    """
    from evalkit.report.advice import advise as rank
    from evalkit.report.seed_rows import group_seeds

    if group_by is not None:
        groups = group_seeds(gather(runs, allow_mismatch), group_by, labels or {})
        table = groups.runs.comparison
        return rank(table, groups.runs.records, groups.runs.metric, weights, groups.members)
    gathered = gather(runs, allow_mismatch, labels or {})
    return rank(gathered.comparison, gathered.records, gathered.metric, weights)


def report(
    *runs: PathLike,
    output: PathLike,
    baseline: str | None = None,
    reference: str | None = None,
    allow_mismatch: bool = False,
    data_root: str | None = None,
    media: int = 200,
    media_timeout: float = MEDIA_SECONDS,
    labels: Mapping[str, str] | None = None,
) -> Path:
    """Write one self-contained HTML page about finished runs, and return where.

    Differences are to ``baseline``, by default the first system. ``media`` samples of each task get a
    picture, where their data are available (under ``data_root``, or generated); one whose media take more
    than ``media_timeout`` seconds each to read has none.

    Raises:
        UsageError: as for :func:`compare`.
    """
    from evalkit.data.cache import MediaCache, cache_root
    from evalkit.report.about import about_runs
    from evalkit.report.page import report_page
    from evalkit.report.thumbnails import thumbnails

    gathered = gather(runs, allow_mismatch, labels or {})
    found = gathered.comparison
    if reference:
        found = with_reference(found, load_reference(reference), gathered.sizes())
    found = with_differences(found, gathered.records, gathered.metric, baseline or found.arms[0].name)
    pictures: dict[tuple[str, str], str] = {}
    cache = MediaCache(cache_root() / "media")
    for column in found.columns if media else ():
        ids = gathered.first_ids(column.task, media)
        for task in gathered.tasks(column.task):
            pictures |= thumbnails(task, ids, data_root, cache, partial(_draw, cache, media_timeout))
    title = f"evalkit: {', '.join(dict.fromkeys(arm.run for arm in found.arms))}"
    target = Path(output)
    about = about_runs(gathered.origin)
    return write_atomic(target, report_page(found, gathered.records, pictures, title, about))


def _draw(cache: MediaCache, seconds: float, media: Sequence[tuple[MediaRef, ...]]) -> list[str]:
    """Pictures of samples' media, made in worker processes; empty where that takes too long or ends one."""
    from evalkit.core.provenance import usable_cores
    from evalkit.engine.media_scan import MAX_READERS, map_with_timeout
    from evalkit.report.thumbnails import picture

    limit = seconds * max(map(len, media), default=1)
    workers = min(MAX_READERS, usable_cores())
    drawn = map_with_timeout(media, partial(picture, cache=cache), workers, limit)
    return [each if isinstance(each, str) else "" for each in drawn]


def leaderboard(
    runs: Sequence[PathLike],
    target: PathLike,
    page: PathLike | None = None,
    labels: Mapping[str, str] | None = None,
) -> int:
    """Write the systems of finished runs into a leaderboard CSV, and all of it into an HTML ``page``; return
    its number of rows. ``labels`` are as for :func:`compare`.
    """
    from evalkit.report.leaderboard.page import leaderboard_page
    from evalkit.report.leaderboard.table import write

    opened = (open_run(RunDir.open(Path(path))) for path in runs)
    count = write(Path(target), _leaderboard_rows(opened, labels or {}))
    if page is not None:
        write_atomic(Path(page), leaderboard_page(Path(target)))
    return count


def check_leaderboard(target: PathLike, runs: Sequence[PathLike]) -> list[str]:
    """The claims of a leaderboard CSV that the runs, scored anew from their journals, don't support."""
    from evalkit.report.leaderboard.check import unsupported
    from evalkit.scoring.finalize import score_from_journal

    scored = (score_from_journal(RunDir.open(Path(path))) for path in runs)
    return unsupported(Path(target), _leaderboard_rows(scored))


def _leaderboard_rows(
    runs: Iterable[Results], labels: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    from evalkit.report.leaderboard.table import leaderboard_rows, leaderboard_sources, with_given_labels

    sources = [source for results in runs for source in leaderboard_sources(results)]
    return [row for source in with_given_labels(sources, labels or {}) for row in leaderboard_rows(source)]
