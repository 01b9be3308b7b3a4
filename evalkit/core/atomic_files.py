"""Atomic writes: a file is written beside its place, flushed to disk, and moved there.

While it is written, a file or folder has a name that begins with ``PREFIX``, and its process holds a
``flock`` lock on it, which ends with the process. What a killed process left behind is removed by the next
one that writes into the same folder.
"""

from __future__ import annotations

import errno
import fcntl
import fnmatch
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".evalkit-tmp-"
_LONGEST_SUFFIX = 16


def is_temporary(name: str) -> bool:
    """Whether a name is that of a file being written, or left behind by a killed process."""
    return name.startswith(PREFIX)


def write_atomic(target: Path, content: bytes | str, durable: bool = True) -> Path:
    """Replace a file; text is written as UTF-8, with lone surrogates, which JSON may hold."""
    with atomic_path(target, durable) as place, open(place, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return target


@contextmanager
def atomic_path(target: Path, durable: bool = True) -> Iterator[Path]:
    """A path to write to, which is moved to ``target`` if the block succeeds and removed if not.

    A file that is not ``durable`` (a cache) may be lost in a power cut, but is never incomplete. A link is
    followed, and a device is written to directly.

    Raises:
        OSError: it can't be written; names ``target``.
    """
    if target.exists() and not target.is_file():
        yield target
        return
    real = Path(os.path.realpath(target))
    with _errors_name(target):
        make_folder(real.parent)
        handle, work = _claim(real)
        try:
            remove_stale(real.parent)
            yield work
            _sync(work)
            os.replace(work, real)
            if durable:
                _sync_folder(real.parent)
        finally:
            os.close(handle)
            with suppress(OSError):
                work.unlink()


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """A new temporary folder in ``folder``, which is removed at the end unless it was moved elsewhere."""
    with _errors_name(folder):
        make_folder(folder)
        handle, work = _claim(folder / PREFIX, is_folder=True)
        try:
            remove_stale(folder)
            yield work
        finally:
            os.close(handle)
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def atomic_folder(target: Path, durable: bool = True) -> Iterator[Path]:
    """A folder to fill, which is moved to ``target``, where there is none, if the block succeeds; see
    :func:`atomic_path` for ``durable``.
    """
    with _errors_name(target), staging_folder(target.parent) as work:
        yield work
        for folder, _, files in os.walk(work) if durable else ():
            for name in files:
                _sync(Path(folder, name))
            _sync_folder(Path(folder))
        os.replace(work, target)
        if durable:
            _sync_folder(target.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def remove_stale(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder, where that can be done."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_temporary(entry.name):
                _remove_dead(Path(entry.path))


def list_files(folder: Path, pattern: str, deep: bool = False) -> list[Path]:
    """The files of a folder whose names match a pattern, sorted; none where there is no such folder. Unlike
    with ``glob``, a folder that can't be read is not taken for an empty one.

    Raises:
        OSError: it can't be read.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_unless_absent, followlinks=False):
        found += [Path(place, name) for name in fnmatch.filter(names, pattern) if not is_temporary(name)]
        if not deep:
            folders.clear()
    return sorted(found)


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _claim(target: Path, is_folder: bool = False) -> tuple[int, Path]:
    """A new empty file or folder beside ``target``, locked by this process until the handle is closed."""
    suffix = target.suffix if len(target.suffix) <= _LONGEST_SUFFIX else ""
    while True:
        work = target.with_name(f"{PREFIX}{secrets.token_hex(6)}{suffix}")
        if is_folder:
            work.mkdir()
            handle = os.open(work, os.O_RDONLY)
        else:
            handle = os.open(work, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # `remove_stale` of another process was quicker, and removes it
            os.close(handle)
            continue
        except OSError:  # a file system without locks: nothing is ever removed there
            return handle, work
        if is_same(handle, work):
            return handle, work
        os.close(handle)


def is_same(handle: int, path: Path) -> bool:
    """Whether an open file is the one at a path now."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _remove_dead(path: Path) -> None:
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its process lives
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                shutil.rmtree(path)
            else:
                path.unlink()
        finally:
            os.close(handle)


def _sync(path: Path) -> None:
    """Wait until a file is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Wait until a folder's entries are on disk, where the file system supports that."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):
            raise


@contextmanager
def _errors_name(target: Path) -> Iterator[None]:
    """Make errors about a temporary file name the file that was to be written."""
    try:
        yield
    except OSError as error:
        ours = error.filename is None or any(map(is_temporary, Path(str(error.filename)).parts))
        if error.errno is None or not ours:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from None
