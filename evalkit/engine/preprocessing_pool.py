"""The preprocessing pool: worker processes prepare requests ahead of the model, within a memory bound."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TypeVar

from evalkit.core.errors import EnvironmentProblem, MediaError
from evalkit.core.types import Prepared, Request
from evalkit.data.media import MEDIA_SECONDS, late
from evalkit.engine.planner import RequestGroup
from evalkit.engine.worker_pool import Job, JobResult, ThreadRunner, WorkerDied, WorkerPool
from evalkit.models.base import Preprocessor, preprocessor_for

T = TypeVar("T")

AHEAD_TOKENS = 131_072
"""Prompt tokens prepared ahead: a visual token is 4.7 kB of pixels, so this is about 0.6 GB."""

AHEAD_TOKENS_PER_WORKER = 32_768
"""The same for each of many workers: a video of the usual protocol (0.15 GB), so that none is idle."""

AHEAD_GROUPS_PER_WORKER = 8
"""Groups prepared ahead for every worker."""


@dataclass(frozen=True)
class PreparationFailure:
    """Why a request could not be prepared."""

    error: str


Preparation = Prepared | PreparationFailure
"""What became of one request."""


@dataclass(frozen=True)
class PreparedGroup:
    """A group of requests, and what became of each, in the order of its members."""

    group: RequestGroup
    results: Sequence[Preparation]


RequestGroups = Iterable[RequestGroup | None]
"""Groups in their order; None says that there is none at the moment."""

_NO_WORK = PreparedGroup(RequestGroup(()), ())


def prepare_all(
    preprocessor: Preprocessor, groups: RequestGroups, workers: int, seconds: float = MEDIA_SECONDS
) -> Generator[PreparedGroup, None, None]:
    """Prepare groups of requests about the same media, and yield them in their order.

    A request that can't be prepared, whose worker dies, or whose media take more than ``seconds`` each, gives
    a :class:`PreparationFailure`; the others go on. Groups are taken from ``groups`` when there is room for
    them, not before; while it has none, and none are under way, an empty one is yielded.

    Args:
        preprocessor: prepares; picklable.
        groups: what to prepare.
        workers: processes; 0 prepares in this process.
        seconds: limit for each medium.

    Raises:
        EnvironmentProblem: what every request needs is missing, such as the video decoder.
    """
    if workers == 0:
        here = _GroupPreparer(preprocessor, seconds, partial(JobResult.of, ThreadRunner()))
        for group in groups:
            yield _NO_WORK if group is None else PreparedGroup(group, here.results(group.requests))
        return
    with _PreprocessingPool(preprocessor, workers, seconds) as pool:
        waiting = _PeekableGroups(groups)
        ahead: deque[tuple[RequestGroup, Future[JobResult]]] = deque()
        while ahead or not waiting.ended:
            while waiting.first and pool.has_room([group for group, _ in ahead], waiting.first):
                ahead.append((waiting.first, pool.submit(waiting.first)))
                waiting.advance()
            if not ahead:
                if not waiting.ended:
                    yield _NO_WORK
                continue
            if not pool.works():
                warnings.warn(
                    "preprocessing workers can't be started, so this process does their work; in a script, "
                    "call evalkit under `if __name__ == '__main__':`",
                    stacklevel=2,
                )
                rest = chain([group for group, _ in ahead], waiting.rest())
                yield from prepare_all(preprocessor, rest, 0, seconds)
                return
            group, future = ahead.popleft()
            yield pool.collect(group, future)


@dataclass(frozen=True)
class _GroupPreparer:
    """Prepares requests about the same media as one job; ``run`` runs a job, each of its steps with a limit
    in seconds.
    """

    preprocessor: Preprocessor
    seconds: float
    run: Callable[[Job, float], JobResult]

    def job(self, requests: Sequence[Request]) -> tuple[Job, float]:
        """The job that prepares requests, and the time limit for each of its steps."""
        limit = self.seconds * max(1, len(requests[0].media))
        return partial(_prepare, self.preprocessor, requests), limit

    def results(self, requests: Sequence[Request], finished: JobResult | None = None) -> list[Preparation]:
        """What became of each request, in their order; ``finished`` is their job if it has run already.

        Whatever stopped a job before its end costs the request that it was at. Media that take too long do
        so for all of the requests; a worker may have died for want of memory that others took, so each
        request that was left is tried once more, alone.
        """
        if finished is None:
            finished = self.run(*self.job(requests))
        found = [step for step in finished.steps if step is not None]
        left = requests[len(found) :]
        if not left:
            return found
        if isinstance(finished.problem, WorkerDied):
            return [*found, *(self._retry_alone(request) for request in left)]
        hung = left[:1] if finished.steps else left
        found += [PreparationFailure(str(late(each.media, self.seconds))) for each in hung]
        return found + (self.results(left[len(hung) :]) if len(hung) < len(left) else [])

    def _retry_alone(self, request: Request) -> Preparation:
        finished = self.run(*self.job([request]))
        if isinstance(finished.problem, WorkerDied):
            why = "the preprocessing worker died (out of memory, or a crash in a decoder library)"
            return PreparationFailure(why)
        return self.results([request], finished)[0]


class _PeekableGroups:
    """An iterator over groups that shows its first one."""

    def __init__(self, groups: RequestGroups) -> None:
        self._groups = iter(groups)
        self._first: RequestGroup | None = None
        self.ended = False

    @property
    def first(self) -> RequestGroup | None:
        """The group that comes next, if there is one at the moment."""
        if self._first is None and not self.ended:
            self.advance()
        return self._first

    def rest(self) -> Iterator[RequestGroup | None]:
        """All that are left."""
        while not self.ended:
            yield self.first
            self.advance()

    def advance(self) -> None:
        """Leave the first one."""
        try:
            self._first = next(self._groups)
        except StopIteration:
            self._first, self.ended = None, True


class _PreprocessingPool:
    """Prepares groups in processes, ahead of the scheduler."""

    def __init__(self, preprocessor: Preprocessor, workers: int, seconds: float) -> None:
        self._workers = workers
        self._worker_pool = WorkerPool(workers)
        self._probe: Future[JobResult] | None = self._worker_pool.submit(tuple, seconds)
        self._preparer = _GroupPreparer(
            preprocessor, seconds, lambda job, limit: self._worker_pool.submit(job, limit).result()
        )

    def __enter__(self) -> _PreprocessingPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._worker_pool.close()

    def works(self) -> bool:
        """Whether worker processes start, which import the user's script; waits for the first one."""
        if self._probe is not None and self._probe.result().problem:
            return False
        self._probe = None
        return True

    def has_room(self, ahead: Sequence[RequestGroup], group: RequestGroup) -> bool:
        """Whether one more group may be started; the first one always may."""
        tokens = group.prompt_tokens + sum(each.prompt_tokens for each in ahead)
        most = max(AHEAD_TOKENS, AHEAD_TOKENS_PER_WORKER * self._workers)
        return not ahead or (len(ahead) < AHEAD_GROUPS_PER_WORKER * self._workers and tokens <= most)

    def submit(self, group: RequestGroup) -> Future[JobResult]:
        """Start preparing a group."""
        return self._worker_pool.submit(*self._preparer.job(group.requests))

    def collect(self, group: RequestGroup, future: Future[JobResult]) -> PreparedGroup:
        """Wait for a group that was submitted."""
        return PreparedGroup(group, self._preparer.results(group.requests, future.result()))


def _prepare(preprocessor: Preprocessor, requests: Sequence[Request]) -> Iterator[Preparation | None]:
    """Process the media of a group once, and prepare each of its requests; the steps of a job: None when the
    media are done, and then one result for each request.
    """
    began = time.perf_counter()
    preprocessor = preprocessor_for(preprocessor, requests[0])
    media = _catch(partial(preprocessor.process_media, requests[0].media))
    if isinstance(media, PreparationFailure):
        # Each by itself: the message about a medium names the row that it was read from.
        yield media
        for request in requests[1:]:
            yield from _prepare(preprocessor, [request])
        return
    yield None
    seconds = (time.perf_counter() - began) / len(requests)
    for request in requests:
        found = _catch(partial(preprocessor.prepare, request, media))
        if isinstance(found, PreparationFailure):
            yield found
        else:
            yield replace(found, seconds=found.seconds + seconds)


def _catch(work: Callable[[], T]) -> T | PreparationFailure:
    try:
        return work()
    except MediaError as error:
        return PreparationFailure(str(error))
    except EnvironmentProblem:  # no sample's fault: it would be the error of every one of them
        raise
    except Exception as error:  # noqa: BLE001 - one sample's surprise is that sample's error, not the run's
        return PreparationFailure(f"{type(error).__name__}: {error}")
