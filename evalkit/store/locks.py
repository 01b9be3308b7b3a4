"""Locks of a run directory: several processes may write into it, and none may answer what another does.

They are ``flock`` locks: the kernel releases them when their process ends, however it ends, and over NFS
they are byte-range locks on the server. Who holds one is written beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from evalkit.core.atomic_files import write_atomic
from evalkit.core.errors import UsageError

FOLDER = "locks"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Be the only process that has this lock file; waits for others, which are quick."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


@contextmanager
def system_locks(
    folder: Path, names: Sequence[str], command: str, waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Be the only process that answers for ``names`` (system and task), until the end of the block.

    ``waiting`` is told whom this process waits for; without it, it doesn't wait.

    Raises:
        UsageError: another process holds one of them; says which, and who.
    """
    with ExitStack() as held:
        # Every process takes them in one order, so that no two wait for each other.
        for name in sorted(set(names)):
            lock = FileLock(_path(folder, name))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                who = _holder(folder, name)
                if waiting is None:
                    raise UsageError(
                        f"`{name}` is being answered into `{folder}` by another process",
                        who,
                        "wait until it has finished (`--wait`), or choose another `--output`",
                    ) from None
                waiting(f"waiting for `{name}`: {who}")
                lock.acquire()
            held.callback(lock.release)
            _note(folder, name, command)
        yield


def _path(folder: Path, name: str) -> Path:
    """Names of systems may have any character, and be long."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    readable = re.sub(r"[^\w@.,=+-]", "_", name, flags=re.ASCII)[:80]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return folder / FOLDER / f"{readable}-{digest}.lock"


def _note(folder: Path, name: str, command: str) -> None:
    about = {"pid": os.getpid(), "host": platform.node(), "command": command}
    path = _path(folder, name).with_suffix(".holder")
    write_atomic(path, json.dumps(about), durable=False)


def _holder(folder: Path, name: str) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError):
        about = json.loads(_path(folder, name).with_suffix(".holder").read_text(encoding="utf-8"))
        return f"process {about['pid']} on {about['host']} holds it: {about['command']}"
    return "another process holds it"
