"""Tables, pages and advice of finished runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.core.atomic_files import write_atomic
from evalkit.data.media import MEDIA_SECONDS
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
    from evalkit.report.backend_parity import BackendParity
    from evalkit.report.seed_rows import GroupBy

# Each function imports what it alone needs: reading stored runs must not wait for what makes them.

PathLike = str | Path


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


def backend_parity(*runs: PathLike) -> list[BackendParity]:
    """What two engines answered differently, for every checkpoint and variant that both answered.

    Raises:
        UsageError: a run is missing or unscored, or no checkpoint and variant was answered by two engines.
    """
    from evalkit.report.backend_parity import backend_parity as pair_engines

    return pair_engines(*runs)


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
    group_by: GroupBy | None = None,
) -> Path:
    """Write one self-contained HTML page about finished runs, and return where.

    Differences are to ``baseline``, by default the first system. ``media`` samples of each task get a
    picture, where their data are available (under ``data_root``, or generated); one whose media take more
    than ``media_timeout`` seconds each to read has none. ``labels`` and ``group_by`` are as for
    :func:`compare`; samples are shown by checkpoint all the same.

    Raises:
        UsageError: as for :func:`compare`.
    """
    from evalkit.data.cache import MediaCache, cache_root
    from evalkit.report.about import about_runs
    from evalkit.report.page import report_page
    from evalkit.report.thumbnails import thumbnails

    published = load_reference(reference) if reference else None
    groups = None
    if group_by is not None:
        from evalkit.report.seed_rows import group_seeds

        groups = group_seeds(gather(runs, allow_mismatch), group_by, labels or {})
        gathered = groups.runs
        found = groups.comparison(baseline or groups.arms[0].name, "holm")
    else:
        gathered = gather(runs, allow_mismatch, labels or {})
        found = gathered.comparison
    if published:
        found = with_reference(found, published, (groups or gathered).sizes())
    if groups is None:
        found = with_differences(found, gathered.records, gathered.metric, baseline or found.arms[0].name)
    pictures: dict[tuple[str, str], str] = {}
    cache = MediaCache(cache_root() / "media")
    for column in found.columns if media else ():
        ids = gathered.first_ids(column.task, media)
        for task in gathered.tasks(column.task):
            pictures |= thumbnails(task, ids, data_root, cache, partial(_draw, cache, media_timeout))
    title = f"evalkit: {', '.join(dict.fromkeys(arm.run for arm in gathered.comparison.arms))}"
    about = about_runs(gathered.origin, groups.members if groups else None)
    members = groups.checkpoints() if groups else None
    page = report_page(found, gathered.records, pictures, title, about, members)
    return write_atomic(Path(output), page)


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
