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

PRELOADED = (__name__, "evalkit.engine.preprocessing_pool", "evalkit.models.preprocess", "av")
"""What takes a worker most of its start to import."""

WORKER_DIED = "the worker process that read it died (out of memory, or a crash in a decoder library)"

START_SECONDS = 600.0
"""How long a process may take to start, and to import what a job needs."""

JOIN_SECONDS = 10.0
"""How long a thread may take to see that its process was killed."""


class StepTimeout(Exception):
    """A step took longer than its time; who worked at it was given up."""


class WorkerDied(Exception):
    """The process that worked at a step ended."""


JobFailure = StepTimeout | WorkerDied


class JobRunner(Protocol):
    """Does one job at a time, somewhere else."""

    def steps(self, job: Job, seconds: float) -> Iterator[Any]:
        """What a job yields, as it comes.

        Raises:
            StepTimeout: a step took more than so many seconds.
            WorkerDied: its process ended.
        """
        ...


@dataclass(frozen=True)
class JobResult:
    """The steps of a job that were taken, and what put an end to them before the last."""

    steps: list[Any]
    problem: JobFailure | None = None

    @classmethod
    def of(cls, runner: JobRunner, job: Job, seconds: float) -> JobResult:
        """Have a job done; what it raises itself is raised."""
        found: list[Any] = []
        try:
            for step in runner.steps(job, seconds):
                found.append(step)  # noqa: PERF402 - those before an exception count
        except (StepTimeout, WorkerDied) as problem:
            return cls(found, problem)
        return cls(found)


_Message = tuple[str, Any]
_READY: _Message = ("ready", None)


def _run_job(job: Job, send: Callable[[_Message], None]) -> None:
    try:
        for value in job():
            send(("step", value))
    except BaseException as error:  # noqa: BLE001 - whoever asked for the job is told
        try:
            send(("error", error))
        except Exception:  # noqa: BLE001 - one that can't be pickled
            send(("error", RuntimeError(f"{type(error).__name__}: {error}")))
    else:
        send(("end", None))


class ThreadRunner:
    """A thread of this process for each job. One that is late can't be ended: it is left behind, and may use
    the processor until the process ends.
    """

    def steps(self, job: Job, seconds: float) -> Iterator[Any]:
        """See :class:`JobRunner`."""
        messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        left = threading.Event()

        def send(message: _Message) -> None:
            if left.is_set():
                raise SystemExit
            messages.put(message)

        threading.Thread(target=_run_in_thread, args=(job, send), daemon=True).start()
        try:
            while True:
                kind, value = messages.get(timeout=seconds)
                if kind == "error":
                    raise value
                if kind == "end":
                    return
                yield value
        except queue.Empty:
            raise StepTimeout from None
        finally:
            left.set()


def _run_in_thread(job: Job, send: Callable[[_Message], None]) -> None:
    try:
        _run_job(job, send)
    except SystemExit:
        return


class ProcessRunner:
    """A process that is started for the first job, and anew when it died or was late."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Any = None

    def steps(self, job: Job, seconds: float) -> Iterator[Any]:
        """See :class:`JobRunner`. The time to start the process, and to import what the job needs, is not
        counted.
        """
        whole = False
        try:
            self._send_job(job)
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

    def _send_job(self, job: Job) -> None:
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
            raise WorkerDied from None
        self._receive(START_SECONDS)

    def _receive(self, seconds: float) -> _Message:
        try:
            if not self._pipe.poll(seconds):
                raise StepTimeout
            message: _Message = self._pipe.recv()
        except (EOFError, OSError):
            raise WorkerDied from None
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
            self._process.join(JOIN_SECONDS)  # one that waits for a dead disk may not even be killed
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


@dataclass
class WorkerPool:
    """Processes that take jobs in their order, each the next when it has done one.

    Attributes:
        size: how many.
        progress: called with every step, in a thread.
    """

    size: int
    progress: Callable[[Any], None] = lambda step: None
    _jobs: queue.SimpleQueue[tuple[Job, float, Future[JobResult]] | None] = field(
        default_factory=queue.SimpleQueue
    )
    _runners: list[ProcessRunner] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closed: bool = False

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def submit(self, job: Job, seconds: float) -> Future[JobResult]:
        """Have a job done when a process is free, which is started if there are fewer than ``size``."""
        future: Future[JobResult] = Future()
        self._jobs.put((job, seconds, future))
        if len(self._threads) < self.size:
            self._runners.append(ProcessRunner())
            self._threads.append(threading.Thread(target=self._work, args=(self._runners[-1],), daemon=True))
            self._threads[-1].start()
        return future

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        self._closed = True
        for runner in self._runners:
            self._jobs.put(None)
            runner.kill()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)

    def _work(self, runner: ProcessRunner) -> None:
        while (found := self._jobs.get()) is not None and not self._closed:
            job, seconds, future = found
            try:
                future.set_result(JobResult.of(ObservedRunner(runner, self.progress), job, seconds))
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
                future.set_exception(error)
        runner.end()


@dataclass(frozen=True)
class ObservedRunner:
    """A runner whose steps somebody counts."""

    runner: JobRunner
    on_step: Callable[[Any], None]

    def steps(self, job: Job, seconds: float) -> Iterator[Any]:
        """See :class:`JobRunner`."""
        for step in self.runner.steps(job, seconds):
            self.on_step(step)
            yield step


def start_fork_server() -> None:
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
    _exit_with_parent()
    pipe.send(_READY)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        except Exception as error:  # noqa: BLE001 - a job that can't be read here is told of as any other
            job = partial(_raise, str(error))
        pipe.send(_READY)
        _run_job(job, pipe.send)


def _raise(why: str) -> Sequence[Any]:
    raise RuntimeError(why)


def _exit_with_parent() -> None:
    """Make this worker process end with its parent: on Ctrl-C without a word, since the parent tells, and
    when the parent is killed. Otherwise it would wait for work for ever.
    """
    signal.signal(signal.SIGINT, lambda *signal_and_frame: os._exit(130))
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
