"""``evalkit ...`` as it is typed, in a process that need not import everything anew.

A new process takes seconds to import transformers. These are forked from one that has done that and nothing
else; what they do is what a new process would do.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
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
    "evalkit.models.qwen2_5_vl",
    "transformers.models.qwen2_5_vl",
)


def evalkit(
    *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, hub: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command without the hub; with it, if ``hub`` says so: its client takes its settings from ``env``
    when it is imported, and isn't imported before.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        order = {
            "words": words,
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "out": str(out),
            "err": str(err),
        }
        first = _first((*SMALL, *BESIDE_HUB) if hub else LARGE)
        first.stdin.write(json.dumps(order) + "\n")
        first.stdin.flush()
        code = json.loads(first.stdout.readline())
        return subprocess.CompletedProcess(["evalkit", *words], code, out.read_text(), err.read_text())


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
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - this is how it answers


def _become(order: dict[str, Any]) -> None:
    """Be the command, from its standard streams to its exit code."""
    from evalkit.cli import run_cli

    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
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
