"""Whether Ray is alive: when its own processes are killed, most of its calls wait for ever."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from evalkit.core.console import say
from evalkit.core.errors import EnvironmentProblem, ExitCode

CHECK_SECONDS = 2.0
"""How often Ray is asked whether it is alive."""

SILENT_SECONDS = 60.0
"""How long its control service may be silent."""

START_SECONDS = 240.0
"""How long Ray may take to start, to say what a cluster has, to start an engine's process or to end one."""

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # clusters have no internet
    # Ray would end this process with exit code 1 after a minute without its control service.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3600",
}
"""Environment variables that Ray reads when it is imported, and what they are unless they are set."""


def ray_failure(why: str) -> EnvironmentProblem:
    """The error for a Ray that is not there any more."""
    return EnvironmentProblem(
        "Ray, which the engines run on, broke down",
        why,
        "give the same command again: what was answered is kept",
    )


class RayWatch:
    """Asks Ray every few seconds, in a thread, whether the node of this machine is alive; and waits for
    results no longer than it is.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._node = ray.get_runtime_context().get_node_id()
        self._alive = True
        self._answered = time.monotonic()
        self._stopped = threading.Event()
        threading.Thread(target=self._ask, daemon=True).start()

    def wait(self, references: Sequence[Any]) -> Any:
        """The first of several references, or streams, that has something.

        Raises:
            EnvironmentProblem: Ray is not alive.
        """
        while True:
            ready, _ = self._ray.wait(list(references), num_returns=1, timeout=CHECK_SECONDS)
            if ready:
                return ready[0]
            problem = self.problem()
            if problem:
                raise ray_failure(problem)

    def get(self, reference: Any) -> Any:
        """The result behind a reference; see :meth:`wait` for what it raises."""
        return self._ray.get(self.wait([reference]))

    def problem(self) -> str | None:
        """Why Ray can't be worked with any more; None if it is alive."""
        if not self._alive:
            return "its node on this machine has ended (`raylet`)"
        if time.monotonic() - self._answered > SILENT_SECONDS:
            return f"its control service (`gcs_server`) has been silent for {SILENT_SECONDS:g} seconds"
        return None

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def _ask(self) -> None:
        while not self._stopped.wait(CHECK_SECONDS):
            with suppress(Exception):  # whatever it is, it is no answer
                nodes = self._ray.nodes()
                self._answered = time.monotonic()
                self._alive = any(each["Alive"] for each in nodes if each["NodeID"] == self._node)


@contextmanager
def time_limit(what: str, seconds: float) -> Iterator[None]:
    """End this process with a message if the block, which waits in Ray's own code, takes longer."""

    def end() -> None:
        problem = ray_failure(f"{what} took more than {seconds:g} seconds")
        say(f"evalkit: {problem}", err=True)
        os._exit(ExitCode.ENVIRONMENT)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
