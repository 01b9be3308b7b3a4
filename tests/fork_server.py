"""``evalkit ...`` as it is typed, in a process that need not import everything anew.

A new process takes seconds to import transformers. These are forked from one that has done that and nothing
else; what they do is what a new process would do.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

SMALL = ("numpy", "pandas", "scipy.stats", "pyarrow.parquet", "PIL.Image", "av", "rapidfuzz", "evalkit.api")
# What `datasets` and the hub's client import, which doesn't look at their settings; torch is most of it.
BESIDE_HUB = (
    "torch",
    "pyarrow.dataset",
    "dill",
    "multiprocess.pool",
    "xxhash",
    "yaml",
    "tqdm.auto",
    "asyncio",
)
BESIDE_HUB += ("fsspec.implementations.local", "fsspec.implementations.zip", "fsspec.implementations.cached")
LARGE = (
    *SMALL,
    *BESIDE_HUB,
    "huggingface_hub",
    "datasets",
    "evalkit.models.families.qwen2_5_vl.adapter",
    "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl",
    # What a processor imports when it is read: a second of every command with a model otherwise.
    "transformers.models.auto.processing_auto",
    "transformers.models.auto.modeling_auto",
    "transformers.models.qwen2_vl.image_processing_qwen2_vl",
    "transformers.models.qwen2_5_vl.processing_qwen2_5_vl",
    "transformers.models.qwen2_vl.video_processing_qwen2_vl",
    "transformers.generation.utils",
    "accelerate",
    "torchvision.transforms.v2",
    "evalkit.models.processor",
    "evalkit.models.weights",
    "evalkit.engine.executors.local",
    "evalkit.zoo.minisuite",
    "pycocotools.mask",
    "rich.console",
    "rich.progress",
    "rich.table",
)


class RunningCommand:
    """A command that runs; its streams are files, so that nothing has to be read for it to go on."""

    def __init__(
        self, words: Sequence[str], cwd: Path | None, env: Mapping[str, str] | None, hub: bool
    ) -> None:
        self.args = ["evalkit", *words]
        self.returncode: int | None = None
        self._first = _first((*SMALL, *BESIDE_HUB) if hub else LARGE)
        self._folder = tempfile.TemporaryDirectory()
        self.out, self.err = (Path(self._folder.name, name) for name in ("out", "err"))
        for path in (self.out, self.err):
            path.touch()
        order = {
            "words": words,
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
        }
        self.pid = int(self._asked(order | {"out": str(self.out), "err": str(self.err)}))

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        if self.returncode is None:
            self.returncode = int(self._asked({"wait": self.pid}))
        return self.returncode

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        if self.returncode is None:
            self.returncode = self._asked({"poll": self.pid})
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """What it printed on both streams, when it has ended."""
        self.wait()
        return self.out.read_text(), self.err.read_text()

    def _asked(self, order: dict[str, Any]) -> Any:
        self._first.stdin.write(json.dumps(order) + "\n")
        self._first.stdin.flush()
        return json.loads(self._first.stdout.readline())


def start(
    *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, hub: bool = False
) -> RunningCommand:
    """Start a command without the hub; with it, if ``hub`` says so: its client takes its settings from
    ``env`` when it is imported, and isn't imported before.
    """
    return RunningCommand(words, cwd, env, hub)


def evalkit(
    *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, hub: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    started = start(*words, cwd=cwd, env=env, hub=hub)
    out, err = started.communicate()
    return subprocess.CompletedProcess(started.args, started.wait(), out, err)


@cache
def _first(modules: tuple[str, ...]) -> Any:
    """The process that others are forked from."""
    words, pipe = [sys.executable, __file__, *modules], subprocess.PIPE
    offline = os.environ | ({"HF_HUB_OFFLINE": "1"} if modules is LARGE else {})
    first = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=offline)
    atexit.register(first.terminate)
    return first


def _serve() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    if "evalkit.zoo.minisuite" in sys.argv:
        _draw()
    for line in sys.stdin:
        order = json.loads(line)
        if "words" in order:
            answer: int | None = os.fork()
            if answer == 0:
                _become(order)
        else:
            ended, status = os.waitpid(
                order.get("wait") or order["poll"], os.WNOHANG if "poll" in order else 0
            )
            answer = os.waitstatus_to_exitcode(status) if ended else None
        print(json.dumps(answer), flush=True)  # noqa: T201 - this is how it answers


def _draw() -> None:
    """The mini-suite's pictures, which a process draws once."""
    from evalkit.zoo.minisuite import MiniDataset

    for name in ("mini_docvqa", "mini_chartqa", "mini_refcoco"):
        list(MiniDataset(name, n=240).rows())


def _become(order: dict[str, Any]) -> None:
    """Be the command, from its standard streams to its exit code."""
    from evalkit.cli import run_cli

    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    # The server of a test session in the background was told to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream, name in enumerate((os.devnull, order["out"], order["err"])):
        flags = os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT
        os.dup2(os.open(name, flags, 0o644), stream)
    code = 1
    try:
        code = run_cli(order["words"])
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
