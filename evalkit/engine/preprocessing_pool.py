"""Preprocessing ahead of the model, in worker processes, within a memory bound."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TypeVar

from evalkit.core.errors import EnvironmentProblem, MediaError
from evalkit.core.types import Prepared, Request
from evalkit.data.media import MEDIA_SECONDS, late
from evalkit.engine.planner import RequestGroup
from evalkit.engine.worker_pool import Job, JobResult, ThreadRunner, WorkerDied, WorkerPool
from evalkit.models.base import Preprocessor

T = TypeVar("T")

AHEAD_TOKENS = 131_072
"""Prompt tokens prepared ahead: a visual token is 4.7 kB of pixels, so this is about 0.6 GB."""

AHEAD_TOKENS_PER_WORKER = 32_768
"""The same for each of many workers: a video of the usual protocol (0.15 GB), so that none is idle."""

AHEAD_GROUPS_PER_WORKER = 8
"""Groups prepared ahead for every worker."""


@dataclass(frozen=True)
class PreparationFailure:
    """A request that could not be prepared, and why."""

    request: Request
    error: str


@dataclass(frozen=True)
class PreparedGroup:
    """What became of a group of requests."""

    prepared: list[Prepared] = field(default_factory=list)
    failed: list[PreparationFailure] = field(default_factory=list)


RequestGroups = Iterable[RequestGroup | None]
"""Groups in their order; None says that there is none at the moment."""

GroupResult = tuple[RequestGroup, PreparedGroup]

_NO_WORK = (RequestGroup([], {}), PreparedGroup())


def prepare_all(
    preprocessor: Preprocessor, groups: RequestGroups, workers: int, seconds: float = MEDIA_SECONDS
) -> Generator[GroupResult, None, None]:
    """Prepare groups of requests about the same media, and yield them in their order; ``workers=0`` does it
    in this process. Groups are taken when there is room for them, not before; while there are none to be
    had, and none are being prepared, an empty one is yielded.

    A request that fails, whose worker dies, or whose media take more than ``seconds`` each, is
    :class:`PreparationFailure`; the others go on.

    Raises:
        EnvironmentProblem: what every request needs is missing, such as the video decoder.
    """
    if workers == 0:
        here = _GroupPreparer(preprocessor, seconds, partial(JobResult.of, ThreadRunner()))
        for group in groups:
            yield _NO_WORK if group is None else (group, here.prepared_group(group.requests))
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
            yield group, pool.prepared_group(group, future)


@dataclass(frozen=True)
class _GroupPreparer:
    """Makes of a job's progress what became of its requests; ``do`` has a job done, each of its steps in so
    many seconds.
    """

    preprocessor: Preprocessor
    seconds: float
    do: Callable[[Job, float], JobResult]

    def job(self, requests: Sequence[Request]) -> tuple[Job, float]:
        """The preparation of requests about the same media, and the time for each of its steps."""
        most = self.seconds * max(1, len(requests[0].media))
        return partial(_prepare, self.preprocessor, requests), most

    def prepared_group(self, requests: Sequence[Request], progress: JobResult | None = None) -> PreparedGroup:
        """What became of them; whatever stopped a job before its end costs the request that it was at.

        Media that take too long are as late for each of the requests; a worker may have died for want of
        memory that others took, so each request that was left is tried once more, by itself.
        """
        if progress is None:
            progress = self.do(*self.job(requests))
        found = _merged(progress.steps)
        known = {each.key for each in found.prepared} | {each.request.key for each in found.failed}
        left = [request for request in requests if request.key not in known]
        if progress.problem is None or not left:
            return found
        if isinstance(progress.problem, WorkerDied):
            return _merged([found, *(self._retry_alone(request) for request in left)])
        late = left[:1] if progress.steps else left
        failed = PreparedGroup(failed=[PreparationFailure(each, self._late(each)) for each in late])
        rest = left[len(late) :]
        return _merged([found, failed, *([self.prepared_group(rest)] if rest else [])])

    def _retry_alone(self, request: Request) -> PreparedGroup:
        progress = self.do(*self.job([request]))
        if isinstance(progress.problem, WorkerDied):
            why = "the preprocessing worker died (out of memory, or a crash in a decoder library)"
            return PreparedGroup(failed=[PreparationFailure(request, why)])
        return self.prepared_group([request], progress)

    def _late(self, request: Request) -> str:
        return str(late(request.media, self.seconds))


def _merged(prepared_groups: Iterable[PreparedGroup]) -> PreparedGroup:
    every = list(prepared_groups)
    return PreparedGroup(
        [item for prepared_group in every for item in prepared_group.prepared],
        [each for prepared_group in every for each in prepared_group.failed],
    )


class _PeekableGroups:
    """Groups, with a look at the first."""

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
    """Prepares groups in processes, ahead of whoever asks for them."""

    def __init__(self, preprocessor: Preprocessor, workers: int, seconds: float) -> None:
        self._workers = workers
        self._worker_pool = WorkerPool(workers)
        self._probe: Future[JobResult] | None = self._worker_pool.submit(tuple, seconds)
        self._preparing = _GroupPreparer(
            preprocessor, seconds, lambda job, most: self._worker_pool.submit(job, most).result()
        )

    def __enter__(self) -> _PreprocessingPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._worker_pool.close()

    def works(self) -> bool:
        """Whether worker processes start: they import the user's script, which may do anything. Waits for the
        first one.
        """
        if self._probe is not None and self._probe.result().problem:
            return False
        self._probe = None
        return True

    def has_room(self, ahead: Sequence[RequestGroup], group: RequestGroup) -> bool:
        """Whether one more group may be started; the first one always may."""
        tokens = group.tokens + sum(each.tokens for each in ahead)
        most = max(AHEAD_TOKENS, AHEAD_TOKENS_PER_WORKER * self._workers)
        return not ahead or (len(ahead) < AHEAD_GROUPS_PER_WORKER * self._workers and tokens <= most)

    def submit(self, group: RequestGroup) -> Future[JobResult]:
        """Start preparing a group."""
        return self._worker_pool.submit(*self._preparing.job(group.requests))

    def prepared_group(self, group: RequestGroup, future: Future[JobResult]) -> PreparedGroup:
        """What became of a group that was submitted."""
        return self._preparing.prepared_group(group.requests, future.result())


def _prepare(preprocessor: Preprocessor, requests: Sequence[Request]) -> Iterator[PreparedGroup]:
    """Show the media of a group once, and prepare each of its requests: one step each."""
    began = time.perf_counter()
    shown = _catch(lambda: preprocessor.process_media(requests[0].media))
    if isinstance(shown, _Problem):
        # Each by itself: what is said of a medium names the row that it was read from.
        yield PreparedGroup(failed=[PreparationFailure(requests[0], shown.text)])
        for request in requests[1:]:
            yield from _prepare(preprocessor, [request])
        return
    yield PreparedGroup()
    seconds = (time.perf_counter() - began) / len(requests)
    for request in requests:
        found = _catch(partial(preprocessor.prepare, request, shown))
        if isinstance(found, _Problem):
            yield PreparedGroup(failed=[PreparationFailure(request, found.text)])
        else:
            yield PreparedGroup([replace(found, seconds=found.seconds + seconds)])


@dataclass(frozen=True)
class _Problem:
    text: str


def _catch(work: Callable[[], T]) -> T | _Problem:
    try:
        return work()
    except MediaError as error:
        return _Problem(str(error))
    except EnvironmentProblem:  # no sample's fault: it would be the error of every one of them
        raise
    except Exception as error:  # noqa: BLE001 - one sample's surprise is that sample's error, not the run's
        return _Problem(f"{type(error).__name__}: {error}")
