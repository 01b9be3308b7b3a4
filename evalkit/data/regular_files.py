"""Opens regular files only: data sets name paths, and reading a FIFO or a device may never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def check_regular(path: str | Path) -> None:
    """Make sure that a path leads to a regular file, without opening it.

    Raises:
        OSError: there is nothing, or something else.
    """
    _check(os.stat(path), path)


def open_regular(path: str | Path) -> BinaryIO:
    """A regular file, opened for reading.

    Raises:
        OSError: there is nothing, or something else, which is not opened.
    """
    check_regular(path)
    # Without waiting, and looked at again: it may have become a FIFO since.
    file = os.fdopen(os.open(path, os.O_RDONLY | _WITHOUT_WAITING), "rb")
    try:
        _check(os.fstat(file.fileno()), path)
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: str | Path) -> bytes:
    """All bytes of a regular file; see :func:`open_regular` for what it raises."""
    with open_regular(path) as file:
        return file.read()


def _check(state: os.stat_result, path: str | Path) -> None:
    kind = stat.S_IFMT(state.st_mode)
    if kind != stat.S_IFREG:
        found = _KINDS.get(kind, "something else")
        raise OSError(errno.EINVAL, f"it is {found}, no regular file", str(path))
