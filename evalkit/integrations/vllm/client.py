"""evalkit's end of the vLLM process: finding out what it would be, starting it, talking to it, ending it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from evalkit.core.errors import EngineDied, EnvironmentProblem, UsageError
from evalkit.core.provenance import installed_version
from evalkit.integrations.vllm.protocol import PROTOCOL, Array, Message, read_message, write_message

OLDEST = (0, 32)
"""The oldest release of vLLM that the plug-in was run with."""

END_SECONDS = 5.0
"""How long the process may take to end by itself."""

_INSTALL = (
    "pip install 'evalkit[vllm]' into an environment (in a checkout: `make vllm`), and give its interpreter "
    "by `--vllm-python`"
)


@dataclass(frozen=True)
class VllmEnvironment:
    """An interpreter with vLLM: versions of packages, and the device (``cpu``, or ``cuda`` with ``gpu``).
    ``records`` are files that change when one of the packages is installed anew.
    """

    python: str
    vllm: str
    torch: str
    transformers: str
    device: str
    gpu: str | None = None
    records: tuple[str, ...] = ()


@lru_cache(maxsize=8)  # starting it takes half a second, and with a GPU seconds
def environment_of(python: str) -> VllmEnvironment:
    """The environment of an interpreter.

    Raises:
        EnvironmentProblem: it can't be started, or has no vLLM, an old one, or none that knows evalkit.
    """
    script = str(Path(__file__).with_name("probe.py"))
    try:
        done = subprocess.run([python, script], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        raise EnvironmentProblem(
            f"interpreter `{python}`", f"it can't be started: {error.strerror}", "correct `--vllm-python`"
        ) from None
    try:
        found = json.loads(done.stdout)
    except ValueError:
        why = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        raise EnvironmentProblem(f"interpreter `{python}`", why, "correct `--vllm-python`") from None
    what = f"`--engine vllm` with the interpreter `{python}`"
    if found["vllm"] is None:
        raise EnvironmentProblem(what, "it has no vLLM", _INSTALL)
    if _release(found["vllm"]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise EnvironmentProblem(
            what, f"its vLLM is {found['vllm']}, and evalkit needs {oldest} or newer", _INSTALL
        )
    own = installed_version("evalkit")
    if found["evalkit"] != own or not found["plugin"]:
        there = found["evalkit"] or "none"
        why = (
            f"its evalkit is {there}, and this one is {own}" if there != own else "its evalkit has no plug-in"
        )
        raise EnvironmentProblem(what, why, "install the same evalkit there: vLLM loads a class of it")
    names = ("vllm", "torch", "transformers", "device", "gpu")
    return VllmEnvironment(python, **{name: found[name] for name in names}, records=tuple(found["records"]))


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("+")[0].split("."))


@dataclass
class VllmProcess:
    """A running vLLM process. Messages from it are gathered by a thread, so that neither end waits for the
    other to read.
    """

    process: subprocess.Popen[bytes]
    stderr_file: IO[bytes]
    messages: queue.SimpleQueue[Message | None] = field(default_factory=queue.SimpleQueue)

    @classmethod
    def start(cls, python: str, environment: Mapping[str, str]) -> VllmProcess:
        """Start the process, in a process group of its own.

        Raises:
            EnvironmentProblem: there is no such interpreter.
        """
        stderr_file = tempfile.TemporaryFile()  # noqa: SIM115
        command = [python, "-m", f"{__package__}.server"]
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own interpreter
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr_file,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except OSError as error:
            raise EnvironmentProblem(
                f"interpreter `{python}`", f"it can't be started: {error.strerror}", "correct `--vllm-python`"
            ) from None
        found = cls(process, stderr_file)
        threading.Thread(target=found._gather, daemon=True).start()
        return found

    def load(self, start: dict[str, Any]) -> dict[str, Any]:
        """Have it load a model; returns what it says of itself.

        Raises:
            UsageError: an engine argument can't be used.
            EnvironmentProblem: it speaks another protocol, or the model can't be loaded.
        """
        hello, _ = self.receive()
        if hello.get("protocol") != PROTOCOL:
            raise EnvironmentProblem(
                "the vLLM process",
                f"its evalkit speaks protocol {hello.get('protocol')}, and this one {PROTOCOL}",
                "install the same evalkit there",
            )
        self.send({"op": "start", **start})
        head, _ = self.receive()
        if head["op"] == "ready":
            return head
        self.end()
        kind = UsageError if head.get("usage") else EnvironmentProblem
        raise kind(
            head.get("what") or f"vLLM can't load `{start['model']}`",
            self._why(str(head.get("why"))),
            head.get("fix") or "see to that, give other `--engine-args`, or use evalkit's own engine",
        )

    def send(self, head: dict[str, Any], arrays: Sequence[Array] = ()) -> None:
        """Send one message.

        Raises:
            EngineDied: the process is gone.
        """
        assert self.process.stdin is not None
        try:
            write_message(self.process.stdin, head, arrays)
        except (OSError, ValueError):
            raise self._died() from None

    def receive(self, *, wait: bool = True) -> Message:
        """The next message.

        Raises:
            queue.Empty: there is none, and it is not to be waited for.
            EngineDied: the process is gone, or vLLM in it is broken.
        """
        found = self.messages.get(block=wait)
        if found is None:
            self.messages.put(None)
            raise self._died()
        if found[0]["op"] == "failed":
            raise self._died(str(found[0]["why"]))
        return found

    def end(self) -> None:
        """End the process, and all that it started; afterwards there is none."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _gather(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while (message := read_message(self.process.stdout)) is not None:
                self.messages.put(message)
        self.messages.put(None)

    def _died(self, why: str | None = None) -> EngineDied:
        self.end()
        code = self.process.returncode
        ended = f"signal {-code} ended it" if code < 0 else f"it ended with code {code}"
        return EngineDied(
            "the vLLM process died",
            why or self._why(ended),
            "give the same command again: what was answered is stored, and only the rest is asked",
        )

    def _why(self, why: str) -> str:
        """The reason, and the last error that vLLM wrote if it says more."""
        self.stderr_file.seek(0)
        text = self.stderr_file.read().decode(errors="replace")
        # Of several processes each tells that another failed; what happened is said once.
        lines = [line.strip() for line in text.splitlines() if "Error: " in line and "root cause" not in line]
        return f"{why} ({lines[-1][-300:]})" if lines and lines[-1][-300:] not in why else why


def python_of(given: str | None) -> str:
    """The interpreter that is asked for, or this one."""
    return given or sys.executable
