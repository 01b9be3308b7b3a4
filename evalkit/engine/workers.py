"""Preprocessing ahead of the model, in worker processes, within a memory bound."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from evalkit.engine.planner import Group
from evalkit.errors import EnvironmentProblem, MediaError
from evalkit.models.base import Preprocessor
from evalkit.types import Prepared, Request

T = TypeVar("T")

AHEAD_TOKENS = 131_072
"""Prompt tokens prepared ahead: a visual token is 4.7 kB of pixels, so this is about 0.6 GB."""

AHEAD_EACH = 32_768
"""The same for each of many workers: a video of the usual protocol (0.15 GB), so that none is idle."""

AHEAD_PER_WORKER = 8
"""Groups prepared ahead for every worker."""

PRELOADED = (__name__, "evalkit.models.qwen_preprocess", "av")
"""What takes a worker most of its start to import."""


@dataclass(frozen=True)
class Failed:
    """A request that could not be prepared, and why."""

    request: Request
    error: str


@dataclass(frozen=True)
class Outcome:
    """What became of a group of requests."""

    prepared: list[Prepared] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)


Groups = Iterable[Group | None]
"""Groups in their order; None says that there is none at the moment."""

Done = tuple[Group, Outcome]

_NOTHING = (Group([], {}), Outcome())


def prepare_all(preprocessor: Preprocessor, groups: Groups, workers: int) -> Generator[Done, None, None]:
    """Prepare groups of requests about the same media, and yield them in their order; ``workers=0`` does it
    in this process. Groups are taken when there is room for them, not before; while there are none to be
    had, and none are being prepared, an empty one is yielded.

    A request that fails, or whose worker dies, is :class:`Failed`; the others go on.

    Raises:
        EnvironmentProblem: what every request needs is missing, such as the video decoder.
    """
    if workers == 0:
        for group in groups:
            yield _NOTHING if group is None else (group, _prepare(preprocessor, group.requests))
        return
    with _Pool(preprocessor, workers) as pool:
        waiting = _Waiting(groups)
        ahead: deque[tuple[Group, Future[Outcome]]] = deque()
        while ahead or not waiting.ended:
            while waiting.first and pool.has_room([group for group, _ in ahead], waiting.first):
                ahead.append((waiting.first, pool.submit(waiting.first)))
                waiting.go_on()
            if not ahead:
                if not waiting.ended:
                    yield _NOTHING
                continue
            if not pool.works():
                warnings.warn(
                    "preprocessing workers can't be started, so this process does their work; in a script, "
                    "call evalkit under `if __name__ == '__main__':`",
                    stacklevel=2,
                )
                yield from prepare_all(preprocessor, chain([group for group, _ in ahead], waiting.rest()), 0)
                return
            group, future = ahead.popleft()
            try:
                outcome = future.result()
            except BrokenProcessPool:
                outcome = pool.recover(group)
                # The other groups died with the pool, through no fault of their own.
                ahead = deque((each, pool.submit(each)) for each, _ in ahead)
            yield group, outcome


class _Waiting:
    """Groups, with a look at the first."""

    def __init__(self, groups: Groups) -> None:
        self._groups = iter(groups)
        self._first: Group | None = None
        self.ended = False

    @property
    def first(self) -> Group | None:
        """The group that comes next, if there is one at the moment."""
        if self._first is None and not self.ended:
            self.go_on()
        return self._first

    def rest(self) -> Iterator[Group | None]:
        """All that are left."""
        while not self.ended:
            yield self.first
            self.go_on()

    def go_on(self) -> None:
        """Leave the first one."""
        try:
            self._first = next(self._groups)
        except StopIteration:
            self._first, self.ended = None, True


class _Pool:
    """A process pool that can be replaced when one of its processes dies."""

    def __init__(self, preprocessor: Preprocessor, workers: int) -> None:
        self._preprocessor, self._workers = preprocessor, workers
        self._executor = self._new(workers)
        self._probe: Future[int] | None = self._executor.submit(int)

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def works(self) -> bool:
        """Whether worker processes start: they import the user's script, which may do anything. Waits for the
        first one.
        """
        try:
            if self._probe is not None:
                self._probe.result()
        except BrokenProcessPool:
            return False
        self._probe = None
        return True

    def has_room(self, ahead: Sequence[Group], group: Group) -> bool:
        """Whether one more group may be started; the first one always may."""
        tokens = group.tokens + sum(each.tokens for each in ahead)
        most = max(AHEAD_TOKENS, AHEAD_EACH * self._workers)
        return not ahead or (len(ahead) < AHEAD_PER_WORKER * self._workers and tokens <= most)

    def submit(self, group: Group) -> Future[Outcome]:
        """Start preparing a group."""
        try:
            return self._executor.submit(_prepare, self._preprocessor, group.requests)
        except BrokenProcessPool as error:  # it died since the last result
            future: Future[Outcome] = Future()
            future.set_exception(error)
            return future

    def recover(self, group: Group) -> Outcome:
        """Start a new pool, and prepare the requests of ``group`` alone: one may have killed the old pool."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        outcome = Outcome()
        for request in group.requests:
            with self._new(1) as alone:
                try:
                    found = alone.submit(_prepare, self._preprocessor, [request]).result()
                except BrokenProcessPool:
                    why = "the preprocessing worker died (out of memory, or a crash in a decoder library)"
                    found = Outcome(failed=[Failed(request, why)])
            outcome.prepared.extend(found.prepared)
            outcome.failed.extend(found.failed)
        self._executor = self._new(self._workers)
        return outcome

    @staticmethod
    def _new(workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(workers, mp_context=_context(), initializer=_leave_with_the_run)


def get_ready() -> None:
    """Start what workers come from, if it isn't there yet, while something else takes its time."""
    if _context().get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        ensure_running()


def _context() -> Any:
    """How worker processes start. Not by forking this process: it runs torch's threads, and a child may hang
    on their locks. Where there is a fork server, they come from that, which has imported what they need.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _leave_with_the_run() -> None:
    """Make this worker process end with its parent: on Ctrl-C without a word, since the parent tells, and
    when the parent is killed. Otherwise it would wait for work for ever.
    """
    signal.signal(signal.SIGINT, lambda *signal_and_frame: os._exit(130))
    threading.Thread(target=_outlive_no_parent, daemon=True).start()


def _outlive_no_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _prepare(preprocessor: Preprocessor, requests: Sequence[Request]) -> Outcome:
    """Show the media of a group once, and prepare each of its requests."""
    began = time.perf_counter()
    shown = _tried(lambda: preprocessor.show(requests[0].media))
    if isinstance(shown, _Problem) and len(requests) > 1:
        # Each by itself: what is said of a medium names the row that it was read from.
        alone = [_prepare(preprocessor, [request]) for request in requests]
        return Outcome(
            [each for outcome in alone for each in outcome.prepared],
            [each for outcome in alone for each in outcome.failed],
        )
    if isinstance(shown, _Problem):
        return Outcome(failed=[Failed(requests[0], shown.text)])
    seconds = (time.perf_counter() - began) / len(requests)
    outcome = Outcome()
    for request in requests:
        found = _tried(partial(preprocessor.prepare, request, shown))
        if isinstance(found, _Problem):
            outcome.failed.append(Failed(request, found.text))
        else:
            outcome.prepared.append(replace(found, seconds=found.seconds + seconds))
    return outcome


@dataclass(frozen=True)
class _Problem:
    text: str


def _tried(work: Callable[[], T]) -> T | _Problem:
    try:
        return work()
    except MediaError as error:
        return _Problem(str(error))
    except EnvironmentProblem:  # no sample's fault: it would be the error of every one of them
        raise
    except Exception as error:  # noqa: BLE001 - one sample's surprise is that sample's error, not the run's
        return _Problem(f"{type(error).__name__}: {error}")
