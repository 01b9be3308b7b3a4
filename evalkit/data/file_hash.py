"""SHA-256 of whole files, each read once: what was found out is kept beside evalkit's other caches.

A large file's hash is kept under its path, and holds while size, inode and both times of the file stay
what they were. A file that was touched a moment ago is not kept: the clock of a file system may be too
coarse to tell the next change from this one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.core.atomic_files import write_atomic
from evalkit.core.console import scrub
from evalkit.data.cache import cache_root
from evalkit.data.regular_files import check_regular, open_regular

KEPT_BYTES = 1 << 20
"""Smaller files are read again each time: that takes no longer than looking their hash up."""

SETTLED_SECONDS = 2.0
"""Age from which a file's times tell its contents apart: FAT counts in steps of two seconds."""

THREADS = 4
BLOCK_BYTES = 4 << 20
QUIET_SECONDS = 1.0
SECONDS_BETWEEN_NOTES = 5.0

_LOG = logging.getLogger(__name__)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def file_hash(path: str | Path) -> str:
    """SHA-256 of all bytes of a file, as 64 hexadecimal digits.

    A file in the cache of ``huggingface_hub`` goes by the hash that it is named by.

    Raises:
        OSError: it can't be read, is no regular file, or changes while it is read.
    """
    return file_hashes([path])[0]


def file_hashes(paths: Iterable[str | Path]) -> list[str]:
    """The same of several files, a few at a time. What takes more than a second is told to the log of this
    module (level INFO), now and then.

    Raises:
        OSError: one can't be read, or changes while it is read.
    """
    wanted = [Path(path) for path in paths]
    known = {path: _known(path) for path in dict.fromkeys(wanted)}
    unknown = [path for path, found in known.items() if found is None]
    if unknown:
        size = sum(path.stat().st_size for path in unknown)
        progress = ProgressLog("hashing files: %.1f of %.1f GB", size, 1e9)
        if len(unknown) == 1:  # not in a pool, whose threads can't be left behind at a file that never ends
            known[unknown[0]] = _read(unknown[0], progress)
        else:
            with ThreadPoolExecutor(min(THREADS, len(unknown))) as pool:
                known.update(zip(unknown, pool.map(lambda path: _read(path, progress), unknown), strict=True))
    return [str(known[path]) for path in wanted]


@dataclass
class ProgressLog:
    """Tells the log of this module now and then how much of ``total`` is done; several threads count.

    ``text`` has places for both numbers, in units of ``scale``.
    """

    text: str
    total: int
    scale: float = 1
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    told: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count: int) -> None:
        now = time.monotonic()
        with self.lock:
            self.done += count
            wait = SECONDS_BETWEEN_NOTES if self.told else QUIET_SECONDS
            if now - (self.told or self.began) < wait:
                return
            self.told = now
        _LOG.info(self.text, self.done / self.scale, self.total / self.scale)


def _known(path: Path) -> str | None:
    check_regular(path)
    real = path.resolve()
    if path.is_symlink() and real.parent.name == "blobs" and _SHA256.fullmatch(real.name):
        return real.name
    state = real.stat()
    if state.st_size < KEPT_BYTES:
        return None
    try:
        entry = json.loads(_entry_of(real).read_text(encoding="utf-8"))
        found = str(entry["sha256"]) if entry["state"] == _facts(real, state) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if _SHA256.fullmatch(found) else None


def _read(path: Path, progress: ProgressLog) -> str:
    """Hash a file, and keep what was found where that can be relied on."""
    real, began = path.resolve(), time.time()
    total = hashlib.sha256()
    with open_regular(real) as file:
        before = os.fstat(file.fileno())
        left = before.st_size
        while left > 0 and (block := file.read(BLOCK_BYTES)):
            left -= len(block)
            total.update(block)
            progress.add(len(block))
        after = os.fstat(file.fileno())
    if _facts(real, before) != _facts(real, after) or _facts(real, after) != _facts(real, real.stat()):
        raise OSError(errno.EBUSY, "it changes while it is read", str(path))
    settled = began - max(before.st_mtime, before.st_ctime) >= SETTLED_SECONDS
    if settled and before.st_size >= KEPT_BYTES:
        _keep(real, {"state": _facts(real, before), "sha256": total.hexdigest()})
    return total.hexdigest()


def _facts(real: Path, state: os.stat_result) -> list[Any]:
    """What changes when a file does. The time of the last change of the inode can't be set back, as that of
    the contents is by whatever copies a file with its times.
    """
    return [scrub(str(real)), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _entry_of(real: Path) -> Path:
    name = hashlib.sha256(os.fsencode(real)).hexdigest()
    return cache_root() / "hashes" / name[:2] / f"{name}.json"


def _keep(real: Path, entry: dict[str, Any]) -> None:
    """Write an entry as a whole; without a cache, files are hashed again next time."""
    target = _entry_of(real)
    try:
        write_atomic(target, json.dumps(entry), durable=False)
    except OSError:
        return
