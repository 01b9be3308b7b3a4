"""A pool of worker processes whose jobs may hang or crash: each job runs in steps with a time limit.

A pool of our own, since no other does this: loky and the standard library lose every job under way when one
process dies and have no timeouts; pebble's processes share a pipe and its locks, so that one that is killed
while it writes blocks the rest, and its timeouts go by the wall clock. Here every process has its own pipe
and thread: what happens to it concerns only its job.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

Job = Callable[[], Iterable[Any]]
"""A generator function that yields the results of its steps; picklable for processes."""

PRELOADED = (
    __name__,
    "evalkit.engine.preprocessing_pool",
    "evalkit.models.preprocess",
    "evalkit.data.images",
    "av",
)
"""Modules that the fork server imports once: importing them is most of a worker's start."""

WORKER_DIED = "the worker process that read it died (out of memory, or a crash in a decoder library)"

START_ATTEMPTS = 5
FIRST_RETRY_SECONDS = 0.2
"""How often a worker process is started until its job is given up; the second attempt waits so long, and each
further one twice as long. A fork server that was just killed takes a while to be gone.
"""

START_SECONDS = 600.0
"""How long a process may take to start, and to import what a job needs."""

JOIN_SECONDS = 10.0
"""How long a thread may take to see that its process was killed."""


class StepTimeout(Exception):
    """A step took longer than its limit; its worker was given up."""


class WorkerDied(Exception):
    """The worker process ended during a step."""


JobFailure = StepTimeout | WorkerDied


class JobRunner(Protocol):
    """Runs one job at a time, in a thread or process of its own."""

    def steps(self, job: Job, seconds: float) -> Iterator[Any]:
        """Yield what a job yields, as it comes.

        Raises:
            StepTimeout: a step took more than ``seconds``.
            WorkerDied: the worker process ended.
        """
        ...


@dataclass(frozen=True)
class JobResult:
    """The results of a job's steps, and what stopped it before the last."""

    steps: list[Any]
    problem: JobFailure | None = None

    @classmethod
    def of(
        cls, runner: JobRunner, job: Job, seconds: float, on_step: Callable[[Any], None] = lambda step: None
    ) -> JobResult:
        """Run a job; what the job itself raises is raised. ``on_step`` gets each result as it comes."""
        found: list[Any] = []
        try:
            for step in runner.steps(job, seconds):
                on_step(step)
                found.append(step)
        except (StepTimeout, WorkerDied) as problem:
            return cls(found, problem)
        return cls(found)


_Message = tuple[str, Any]
_READY: _Message = ("ready", None)


def _run_job(job: Job, send: Callable[[_Message], None]) -> None:
    try:
        for value in job():
            send(("step", value))
    except BaseException as error:  # noqa: BLE001 - raised again in the process that submitted the job
        try:
            send(("error", error))
        except Exception:  # noqa: BLE001 - one that can't be pickled
            send(("error", RuntimeError(f"{type(error).__name__}: {error}")))
    else:
        send(("end", None))


class ThreadRunner:
    """Runs each job in a thread of this process. One that is late can't be ended: it is left behind, and may
    use the processor until this process ends.
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
    """Runs jobs in a process that is started for the first one, and anew when it died or was late."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Any = None

    def steps(self, job: Job, seconds: float) -> Iterator[Any]:
        """See :class:`JobRunner`. Starting the process and importing what the job needs doesn't count."""
        ended = False
        try:
            self._send_job(job)
            while not ended:
                kind, value = self._receive(seconds)
                ended = kind != "step"
                if kind == "error":
                    raise value
                if kind == "step":
                    yield value
        finally:
            if not ended:
                self.end()

    def _send_job(self, job: Job) -> None:
        if self._process is None:
            self._start()
        try:
            self._pipe.send(job)
        except OSError:
            raise WorkerDied from None
        self._receive(START_SECONDS)

    def _start(self) -> None:
        """Start the process, again where it or the fork server is killed meanwhile: that is no fault of the
        job's. One that raises twice while it imports the script would do so again.
        """
        raised = 0
        for attempt in range(1, START_ATTEMPTS + 1):
            context = _context()
            self._pipe, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            try:
                process.start()
                self._process = process
                theirs.close()  # so that the pipe ends with the process
                self._receive(START_SECONDS)
            except (EOFError, OSError, WorkerDied) as error:
                raised += self._raised()
                hopeless = attempt == START_ATTEMPTS or raised == 2
                self.end()
                if hopeless:
                    raise (error if isinstance(error, OSError) else WorkerDied) from None
                time.sleep(FIRST_RETRY_SECONDS * 2 ** (attempt - 1))
            else:
                return

    def _raised(self) -> bool:
        """Whether the process ended by an exception, for which Python's exit code is 1."""
        if self._process is None:
            return False
        self._process.join(JOIN_SECONDS)
        return bool(self._process.exitcode == 1)

    def _receive(self, seconds: float) -> _Message:
        try:
            if not self._pipe.poll(seconds):
                raise StepTimeout
            message: _Message = self._pipe.recv()
        except (EOFError, OSError):
            raise WorkerDied from None
        return message

    def kill(self) -> None:
        """Kill the process at once; from any thread."""
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
    """Worker processes that take jobs in their order.

    Attributes:
        size: how many processes.
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
        """Queue a job for the next free process; starts one if there are fewer than ``size``."""
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
                future.set_result(JobResult.of(runner, job, seconds, self.progress))
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
                future.set_exception(error)
        runner.end()


def start_fork_server() -> None:
    """Start the fork server that worker processes come from, so that it is ready when they are needed."""
    if _context().get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        ensure_running()


def _context() -> Any:
    """How worker processes start: from a fork server that has imported what they need, where there is one.
    Never by forking this process, which runs torch's threads: a child may hang on their locks.
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
        except Exception as error:  # noqa: BLE001 - a job that can't be unpickled fails as any other
            job = partial(_raise, str(error))
        pipe.send(_READY)
        _run_job(job, pipe.send)


def _raise(why: str) -> Sequence[Any]:
    raise RuntimeError(why)


def _exit_with_parent() -> None:
    """Make this worker process end with its parent: silently on Ctrl-C, which the parent reports, and when
    the parent is killed. Otherwise it would wait for work for ever.
    """
    signal.signal(signal.SIGINT, lambda *signal_and_frame: os._exit(130))
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
