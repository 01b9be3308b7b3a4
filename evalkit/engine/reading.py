"""What has to be known of media before any is shown, read within a time: a disk may not answer."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from evalkit.data.media import late, media_digest, unreadable
from evalkit.engine.crew import DEATH, Beside, Crew, Job, Late, Problem, Progress, Watched
from evalkit.errors import MediaError
from evalkit.types import MediaRef

T = TypeVar("T")
R = TypeVar("R")

READERS = 4
"""Processes that read media at a time: more are no faster on one disk."""

SHARES = 8
MOST_SHARE = 256
"""In how many jobs for each process the work is divided, and how many media are in one at most."""

QUIET_SECONDS = 1.0
SECONDS_BETWEEN_NOTES = 5.0

UNREADABLE = "unreadable"

_LOG = logging.getLogger("evalkit.data.file_hash")


@dataclass(frozen=True)
class Digests:
    """Content hashes of files by their path (or ``unreadable``), and what is wrong with some by theirs."""

    known: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def digests(media: Iterable[MediaRef], workers: int, seconds: float) -> Digests:
    """Content hashes of files, each taken once; ``unreadable`` where there is nothing to be read, which its
    sample will tell. A problem is that it took more than so many seconds, or ended its process. What takes
    long is told to the log, now and then.
    """
    refs = {ref.path: ref for ref in media if ref.path is not None}
    found = dict(zip(refs, each_within(list(refs.values()), _digest, workers, seconds), strict=True))
    return Digests(
        {path: each if isinstance(each, str) else UNREADABLE for path, each in found.items()},
        {path: _why(refs[path], each, seconds) for path, each in found.items() if not isinstance(each, str)},
    )


def _why(ref: MediaRef, problem: Problem, seconds: float) -> str:
    error = late([ref], seconds) if isinstance(problem, Late) else unreadable(ref, DEATH)
    return f"{error.what}: {error.why}; {error.fix}"


def _digest(ref: MediaRef) -> str:
    try:
        return media_digest(ref)
    except MediaError:
        return UNREADABLE


def each_within(
    items: Sequence[T], work: Callable[[T], R], workers: int, seconds: float
) -> list[R | Problem]:
    """What ``work`` makes of each item, or that it took more than so many seconds, or ended its process. What
    it raises, is raised. ``workers=0`` does it in a thread of this process, as do processes that
    can't be started.
    """
    if not items:
        return []
    noted = _Noted(len(items))
    if workers:
        size = min(workers, READERS, len(items))
        with Crew(size, noted.step) as crew:
            if not crew.submit(tuple, seconds).result().problem:
                return _all(items, work, lambda job: crew.submit(job, seconds).result, size * SHARES)
    here = Watched(Beside(), noted.step)
    return _all(items, work, lambda job: partial(Progress.of, here, job, seconds), SHARES)


Begun = Callable[[Job], Callable[[], Progress]]
"""Begins a job, and gives a function that waits for its progress."""


def _all(items: Sequence[T], work: Callable[[T], R], begin: Begun, shares: int) -> list[R | Problem]:
    size = min(MOST_SHARE, math.ceil(len(items) / shares))
    jobs = [items[first : first + size] for first in range(0, len(items), size)]
    begun = [(share, begin(partial(_map, work, share))) for share in jobs]
    found: list[R | Problem] = []
    for share, progress in begun:
        found += _share(share, work, progress(), begin)
    return found


def _share(items: Sequence[T], work: Callable[[T], R], progress: Progress, begin: Begun) -> list[R | Problem]:
    """The results of a job, and of those that go on behind whatever stopped it. An item that ends its process
    is tried once more: that may have been for want of memory that others took.
    """
    found: list[R | Problem] = list(progress.steps)
    died = -1
    while progress.problem is not None and len(found) < len(items):
        if isinstance(progress.problem, Late) or died == len(found):
            found.append(progress.problem)
        else:
            died = len(found)
        if len(found) < len(items):
            progress = begin(partial(_map, work, items[len(found) :]))()
            found += progress.steps
    return found


def _map(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    return map(work, items)


@dataclass
class _Noted:
    """How many of the media were read; several threads count."""

    total: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    told: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, value: Any) -> None:
        now = time.monotonic()
        with self.lock:
            self.done += 1
            wait = SECONDS_BETWEEN_NOTES if self.told else QUIET_SECONDS
            if now - (self.told or self.began) < wait:
                return
            self.told = now
        _LOG.info("reading media: %d of %d", self.done, self.total)
