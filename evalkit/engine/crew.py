"""Work that may never end, or end its process: done in steps, each of which has its time.

A pool of our own, since none does this: loky and the standard library lose all that is under way with one
process and know no timeouts; pebble shares a pipe and its locks among its processes, so that one that is
killed while it writes holds up the rest, and goes by the wall clock. Here every process has a pipe and a
thread of its own: what happens to one concerns the job that it had, and no other.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

Job = Callable[[], Iterable[Any]]
"""What it yields is the result of its steps; processes need it to be picklable."""

PRELOADED = (__name__, "evalkit.engine.workers", "evalkit.models.qwen_preprocess", "av")
"""What takes a worker most of its start to import."""

DEATH = "the worker process that read it died (out of memory, or a crash in a decoder library)"

START_SECONDS = 600.0
"""How long a process may take to start, and to import what a job needs."""

END_SECONDS = 10.0
"""How long a thread may take to see that its process was killed."""


class Late(Exception):
    """A step took longer than its time; who worked at it was given up."""


class Died(Exception):
    """The process that worked at a step ended."""


Problem = Late | Died


class Helper(Protocol):
    """Does one job at a time, somewhere else."""

    def steps(self, job: Job, seconds: float) -> Iterator[Any]:
        """What a job yields, as it comes.

        Raises:
            Late: a step took more than so many seconds.
            Died: its process ended.
        """
        ...


@dataclass(frozen=True)
class Progress:
    """The steps of a job that were taken, and what put an end to them before the last."""

    steps: list[Any]
    problem: Problem | None = None

    @classmethod
    def of(cls, helper: Helper, job: Job, seconds: float) -> Progress:
        """Have a job done; what it raises itself is raised."""
        found: list[Any] = []
        try:
            for step in helper.steps(job, seconds):
                found.append(step)  # noqa: PERF402 - those before an exception count
        except (Late, Died) as problem:
            return cls(found, problem)
        return cls(found)


_Message = tuple[str, Any]
_READY: _Message = ("ready", None)


def _do(job: Job, say: Callable[[_Message], None]) -> None:
    try:
        for value in job():
            say(("step", value))
    except BaseException as error:  # noqa: BLE001 - whoever asked for the job is told
        try:
            say(("error", error))
        except Exception:  # noqa: BLE001 - one that can't be pickled
            say(("error", RuntimeError(f"{type(error).__name__}: {error}")))
    else:
        say(("end", None))


class Beside:
    """A thread of this process for each job. One that is late can't be ended: it is left behind, and may use
    the processor until the process ends.
    """

    def steps(self, job: Job, seconds: float) -> Iterator[Any]:
        """See :class:`Helper`."""
        messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        left = threading.Event()

        def say(message: _Message) -> None:
            if left.is_set():
                raise SystemExit
            messages.put(message)

        threading.Thread(target=_quietly, args=(job, say), daemon=True).start()
        try:
            while True:
                kind, value = messages.get(timeout=seconds)
                if kind == "error":
                    raise value
                if kind == "end":
                    return
                yield value
        except queue.Empty:
            raise Late from None
        finally:
            left.set()


def _quietly(job: Job, say: Callable[[_Message], None]) -> None:
    try:
        _do(job, say)
    except SystemExit:
        return


class Elsewhere:
    """A process that is started for the first job, and anew when it died or was late."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Any = None

    def steps(self, job: Job, seconds: float) -> Iterator[Any]:
        """See :class:`Helper`. The time to start the process, and to import what the job needs, is not
        counted.
        """
        whole = False
        try:
            self._give(job)
            while not whole:
                kind, value = self._receive(seconds)
                whole = kind != "step"
                if kind == "error":
                    raise value
                if kind == "step":
                    yield value
        finally:
            if not whole:
                self.end()

    def _give(self, job: Job) -> None:
        if self._process is None:
            context = _context()
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()  # so that the pipe ends with the process
            self._receive(START_SECONDS)
        try:
            self._pipe.send(job)
        except OSError:
            raise Died from None
        self._receive(START_SECONDS)

    def _receive(self, seconds: float) -> _Message:
        try:
            if not self._pipe.poll(seconds):
                raise Late
            message: _Message = self._pipe.recv()
        except (EOFError, OSError):
            raise Died from None
        return message

    def kill(self) -> None:
        """End the process at once, from whatever thread."""
        process = self._process
        if process is not None and process.pid:
            process.kill()

    def end(self) -> None:
        """End the process, and be ready to start another."""
        if self._process is not None and self._process.pid:
            self._process.kill()
            self._process.join(END_SECONDS)  # one that waits for a dead disk may not even be killed
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


@dataclass
class Crew:
    """Processes that take jobs in their order, each the next when it has done one.

    Attributes:
        size: how many.
        progress: called with every step, in a thread.
    """

    size: int
    progress: Callable[[Any], None] = lambda step: None
    _jobs: queue.SimpleQueue[tuple[Job, float, Future[Progress]] | None] = field(
        default_factory=queue.SimpleQueue
    )
    _helpers: list[Elsewhere] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closed: bool = False

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def submit(self, job: Job, seconds: float) -> Future[Progress]:
        """Have a job done when a process is free, which is started if there are fewer than ``size``."""
        future: Future[Progress] = Future()
        self._jobs.put((job, seconds, future))
        if len(self._threads) < self.size:
            self._helpers.append(Elsewhere())
            self._threads.append(threading.Thread(target=self._work, args=(self._helpers[-1],), daemon=True))
            self._threads[-1].start()
        return future

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        self._closed = True
        for helper in self._helpers:
            self._jobs.put(None)
            helper.kill()
        for thread in self._threads:
            thread.join(END_SECONDS)

    def _work(self, helper: Elsewhere) -> None:
        while (found := self._jobs.get()) is not None and not self._closed:
            job, seconds, future = found
            try:
                future.set_result(Progress.of(Watched(helper, self.progress), job, seconds))
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
                future.set_exception(error)
        helper.end()


@dataclass(frozen=True)
class Watched:
    """A helper whose steps somebody counts."""

    helper: Helper
    note: Callable[[Any], None]

    def steps(self, job: Job, seconds: float) -> Iterator[Any]:
        """See :class:`Helper`."""
        for step in self.helper.steps(job, seconds):
            self.note(step)
            yield step


def get_ready() -> None:
    """Start what processes come from, if it isn't there yet, while something else takes its time."""
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


def _serve(pipe: Any) -> None:
    """Do jobs until there are no more."""
    _leave_with_the_run()
    pipe.send(_READY)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        except Exception as error:  # noqa: BLE001 - a job that can't be read here is told of as any other
            job = partial(_raise, str(error))
        pipe.send(_READY)
        _do(job, pipe.send)


def _raise(why: str) -> Sequence[Any]:
    raise RuntimeError(why)


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
