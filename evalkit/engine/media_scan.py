"""What has to be known of media before any is shown, read within a time: a disk may not answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from evalkit.core.errors import MediaError
from evalkit.core.types import MediaRef
from evalkit.data.file_hash import ProgressLog
from evalkit.data.media import late, media_digest, unreadable
from evalkit.engine.worker_pool import (
    WORKER_DIED,
    Job,
    JobFailure,
    JobResult,
    ObservedRunner,
    StepTimeout,
    ThreadRunner,
    WorkerPool,
)

T = TypeVar("T")
R = TypeVar("R")

MAX_READERS = 4
"""Processes that read media at a time: more are no faster on one disk."""

JOBS_PER_READER = 8
MAX_JOB_ITEMS = 256
"""In how many jobs for each process the work is divided, and how many media are in one at most."""

UNREADABLE = "unreadable"


@dataclass(frozen=True)
class FileDigests:
    """Content hashes of files by their path (or ``unreadable``), and what is wrong with some by theirs."""

    known: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def digest_files(media: Iterable[MediaRef], workers: int, seconds: float) -> FileDigests:
    """Content hashes of files, each taken once; ``unreadable`` where there is nothing to be read, which its
    sample will tell. A problem is that it took more than so many seconds, or ended its process. What takes
    long is told to the log, now and then.
    """
    refs = {ref.path: ref for ref in media if ref.path is not None}
    found = dict(zip(refs, map_with_timeout(list(refs.values()), _digest, workers, seconds), strict=True))
    return FileDigests(
        {path: each if isinstance(each, str) else UNREADABLE for path, each in found.items()},
        {path: _why(refs[path], each, seconds) for path, each in found.items() if not isinstance(each, str)},
    )


def _why(ref: MediaRef, problem: JobFailure, seconds: float) -> str:
    error = late([ref], seconds) if isinstance(problem, StepTimeout) else unreadable(ref, WORKER_DIED)
    return f"{error.what}: {error.why}; {error.fix}"


def _digest(ref: MediaRef) -> str:
    try:
        return media_digest(ref)
    except MediaError:
        return UNREADABLE


def map_with_timeout(
    items: Sequence[T], work: Callable[[T], R], workers: int, seconds: float
) -> list[R | JobFailure]:
    """What ``work`` makes of each item, or that it took more than so many seconds, or ended its process. What
    it raises, is raised. ``workers=0`` does it in a thread of this process, as do processes that
    can't be started.
    """
    if not items:
        return []
    progress = ProgressLog("reading media: %d of %d", len(items))

    def step(value: Any) -> None:
        progress.add(1)

    if workers:
        size = min(workers, MAX_READERS, len(items))
        with WorkerPool(size, step) as pool:
            if not pool.submit(tuple, seconds).result().problem:
                return _map_in_jobs(
                    items, work, lambda job: pool.submit(job, seconds).result, size * JOBS_PER_READER
                )
    here = ObservedRunner(ThreadRunner(), step)
    return _map_in_jobs(items, work, lambda job: partial(JobResult.of, here, job, seconds), JOBS_PER_READER)


SubmitJob = Callable[[Job], Callable[[], JobResult]]
"""Begins a job, and gives a function that waits for its progress."""


def _map_in_jobs(
    items: Sequence[T], work: Callable[[T], R], begin: SubmitJob, shares: int
) -> list[R | JobFailure]:
    size = min(MAX_JOB_ITEMS, math.ceil(len(items) / shares))
    jobs = [items[first : first + size] for first in range(0, len(items), size)]
    begun = [(share, begin(partial(_map, work, share))) for share in jobs]
    found: list[R | JobFailure] = []
    for share, progress in begun:
        found += _collect_job(share, work, progress(), begin)
    return found


def _collect_job(
    items: Sequence[T], work: Callable[[T], R], progress: JobResult, begin: SubmitJob
) -> list[R | JobFailure]:
    """The results of a job, and of those that go on behind whatever stopped it. An item that ends its process
    is tried once more: that may have been for want of memory that others took.
    """
    found: list[R | JobFailure] = list(progress.steps)
    died = -1
    while progress.problem is not None and len(found) < len(items):
        if isinstance(progress.problem, StepTimeout) or died == len(found):
            found.append(progress.problem)
        else:
            died = len(found)
        if len(found) < len(items):
            progress = begin(partial(_map, work, items[len(found) :]))()
            found += progress.steps
    return found


def _map(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    return map(work, items)
