"""Content hashes and headers of media, read before a run in worker processes: a disk may not answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from evalkit.core.errors import MediaError
from evalkit.core.types import MediaDigest, MediaRef
from evalkit.data.cache import MediaCache
from evalkit.data.file_hash import ProgressLog
from evalkit.data.media import file_state, late, media_digest, unreadable
from evalkit.engine.worker_pool import (
    WORKER_DIED,
    Job,
    JobFailure,
    JobResult,
    StepTimeout,
    ThreadRunner,
    WorkerPool,
)

T = TypeVar("T")
R = TypeVar("R")

FrameFolder = tuple[str | None, float | None]
"""A folder of frames, and how many there are a second."""

MAX_READERS = 4
"""Processes that read media: more are no faster on one disk."""

JOBS_PER_READER = 8
"""Jobs that the media are divided into, for each process."""

MAX_JOB_ITEMS = 256
"""Media of one job."""

UNREADABLE = MediaDigest("unreadable")
"""The digest of a file that can't be read."""


def digest_files(media: Iterable[MediaRef], workers: int, seconds: float) -> dict[str, MediaDigest]:
    """Content hashes of files by path, each read once. A file that took more than ``seconds``, or ended its
    worker, has a problem; one that is missing has none: its sample will report why. Progress is logged.
    """
    refs = {ref.path: ref for ref in media if ref.path is not None}
    found = zip(refs.items(), map_with_timeout(list(refs.values()), digest_of, workers, seconds), strict=True)
    return {
        path: each if isinstance(each, MediaDigest) else replace(UNREADABLE, problem=_why(ref, each, seconds))
        for (path, ref), each in found
    }


def join_frames(
    folders: Iterable[MediaRef], cache: MediaCache, workers: int, seconds: float
) -> dict[FrameFolder, MediaRef | str]:
    """The film that is made of each folder of frames, as a file of the cache; or, of one that took more than
    ``seconds`` or ended its worker, the problem.
    """
    refs = {frame_folder(ref): replace(ref, start=None, end=None) for ref in folders}
    films = map_with_timeout(list(refs.values()), cache.to_file, workers, seconds)
    return {
        name: film if isinstance(film, MediaRef) else _why(ref, film, seconds)
        for (name, ref), film in zip(refs.items(), films, strict=True)
    }


def frame_folder(ref: MediaRef) -> FrameFolder:
    """What the film of a folder of frames depends on."""
    return ref.path, ref.frame_rate


def _why(ref: MediaRef, problem: JobFailure, seconds: float) -> str:
    error = late([ref], seconds) if isinstance(problem, StepTimeout) else unreadable(ref, WORKER_DIED)
    return f"{error.what}: {error.why}; {error.fix}"


def digest_of(ref: MediaRef) -> MediaDigest:
    """The content hash of a medium; one that can't be read has none yet, and its sample will report why."""
    state = file_state(ref.path)
    try:
        return MediaDigest(media_digest(ref), state)
    except MediaError:
        return UNREADABLE


def map_with_timeout(
    items: Sequence[T], work: Callable[[T], R], workers: int, seconds: float
) -> list[R | JobFailure]:
    """``work`` mapped over ``items``, with a limit in seconds for each: the result is a failure where an item
    took longer or ended its process. What ``work`` raises is raised here.

    ``workers=0``, or processes that can't be started, do it in a thread of this process.
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
    here = ThreadRunner()
    return _map_in_jobs(
        items, work, lambda job: partial(JobResult.of, here, job, seconds, step), JOBS_PER_READER
    )


SubmitJob = Callable[[Job], Callable[[], JobResult]]
"""Starts a job, and returns a function that waits for its result."""


def _map_in_jobs(
    items: Sequence[T], work: Callable[[T], R], start: SubmitJob, jobs: int
) -> list[R | JobFailure]:
    size = min(MAX_JOB_ITEMS, math.ceil(len(items) / jobs))
    chunks = [items[first : first + size] for first in range(0, len(items), size)]
    started = [(chunk, start(partial(_map, work, chunk))) for chunk in chunks]
    found: list[R | JobFailure] = []
    for chunk, wait in started:
        found += _collect_job(chunk, work, wait(), start)
    return found


def _collect_job(
    items: Sequence[T], work: Callable[[T], R], finished: JobResult, start: SubmitJob
) -> list[R | JobFailure]:
    """The results of a job, and of the jobs that go on after an item that stopped it. An item that ends its
    process is tried once more: that may have been for want of memory that others took.
    """
    found: list[R | JobFailure] = list(finished.steps)
    died = -1
    while finished.problem is not None and len(found) < len(items):
        if isinstance(finished.problem, StepTimeout) or died == len(found):
            found.append(finished.problem)
        else:
            died = len(found)
        if len(found) < len(items):
            finished = start(partial(_map, work, items[len(found) :]))()
            found += finished.steps
    return found


def _map(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    return map(work, items)
