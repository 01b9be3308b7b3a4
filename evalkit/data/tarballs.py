"""Tar archives of media, whole or cut into parts, unpacked as carefully as zip archives.

A tar file has no table of contents, so its members are checked one by one as they come. What was
written before an unacceptable one is removed with the folder that it was written to.
"""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Self

from evalkit.core.errors import EnvironmentProblem
from evalkit.data.archives import (
    DAMAGED,
    UnsafeArchive,
    cached_folder,
    check_ratio,
    check_space,
    name_problem,
)

# An archive ends with two blocks of zeros, and is padded to whole records.
_END = 1024
_PADDED = 1 << 20
_TAR = re.compile(r"(?P<stem>.+?)\.(?:tar|tar\.gz|tgz)(?:\.part\.?\w+)?")


_LONGEST_HEADER = 1 << 20
_LONG = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class _Header(tarfile.TarInfo):
    """A member's header with a limit on long names, which are read into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> Self:
        """See :class:`tarfile.TarInfo`."""
        found = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        if found.type in _LONG and found.size > _LONGEST_HEADER:
            raise tarfile.TarError(f"a header of {found.size} bytes; at most {_LONGEST_HEADER} are read")
        return found


def is_tar(path: Path) -> bool:
    """Whether a file is named as a tar archive or as a part of one.

    >>> is_tar(Path("videos.tar.part.aa")), is_tar(Path("a.tgz")), is_tar(Path("a.zip"))
    (True, True, False)
    """
    return _TAR.fullmatch(path.name) is not None


def tar_stem(path: Path) -> str:
    """The archive's name without suffix, the same for all of its parts.

    >>> tar_stem(Path("a/videos.tar.part.aa")), tar_stem(Path("a/subtitles.tar"))
    ('videos', 'subtitles')
    """
    named = _TAR.fullmatch(path.name)
    return named["stem"] if named else path.stem


def grouped(paths: Iterable[Path]) -> list[tuple[Path, ...]]:
    """Tar files by archive: the parts of one together, in the order of their names."""
    archives: dict[Path, list[Path]] = {}
    for path in sorted(paths):
        archives.setdefault(path.with_name(tar_stem(path)), []).append(path)
    return [tuple(parts) for parts in archives.values()]


def extracted_tar(parts: Sequence[Path], cache: Path) -> Path:
    """Return the folder with the unpacked contents of a tar archive, unpacking it if need be.

    ``parts`` follow one another as if they were one file. See
    :func:`evalkit.data.archives.extracted` for the folder and the errors.
    """
    return cached_folder(tar_stem(parts[0]), parts, cache, lambda folder: extract_tar(parts, folder))


def extract_tar(parts: Sequence[Path], folder: Path) -> None:
    """Unpack a tar archive into an existing folder.

    Raises:
        UnsafeArchive: a member's name or type is not acceptable, or one occurs twice.
        EnvironmentProblem: the archive is damaged, or the disk is too small.
    """
    packed = sum(part.stat().st_size for part in parts)
    size = None
    if not any(part.name.endswith("gz") for part in parts):
        size = packed
        check_space(parts[0], folder, size)
    try:
        with (
            io.BufferedReader(_Joined(parts), 1 << 20) as source,
            tarfile.open(fileobj=source, mode="r|*", tarinfo=_Header) as opened,
        ):
            unpacked = 0
            for number, member in enumerate(opened, start=1):
                unpacked += member.size + tarfile.BLOCKSIZE
                check_ratio(parts[0], packed, unpacked, number)
                if not member.isdir():
                    _write(parts[0], opened, member, folder)
            # The library takes whatever is no header for the end of the archive.
            if size is not None and not _is_padding(parts, size - opened.offset):
                raise EOFError("it is incomplete")
    except DAMAGED as error:
        raise EnvironmentProblem(
            f"archive `{parts[0]}`",
            f"it can't be unpacked: {error or type(error).__name__} ({len(parts)} file(s) found)",
            "download it again, with all of its parts",
        ) from None


def _is_padding(parts: Sequence[Path], count: int) -> bool:
    """Whether the last ``count`` bytes are the end-of-archive padding."""
    if not _END <= count <= _PADDED:
        return False
    tail = b""
    for part in reversed(parts):
        with part.open("rb") as file:
            file.seek(-min(count - len(tail), part.stat().st_size), io.SEEK_END)
            tail = file.read() + tail
    return not tail.strip(b"\0")


def _write(archive: Path, opened: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    reason = name_problem(member.name)
    if not reason and not member.isfile():
        reason = "is a link or a special file"
    if reason:
        raise UnsafeArchive(
            f"archive `{archive}`",
            f"its member `{member.name!r}` {reason}; nothing of it is kept",
            "download the archive from its publisher again, and don't unpack it by hand",
        )
    check_space(archive, folder, member.size)
    path = folder / PurePosixPath(member.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = opened.extractfile(member)
    assert content is not None  # it is a regular file
    with content, path.open("xb") as sink:
        shutil.copyfileobj(content, sink, 1 << 20)


class _Joined(io.RawIOBase):
    """Concatenation of files as one stream."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._waiting = list(paths)
        self._current: io.BufferedReader | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while self._current or self._waiting:
            if self._current is None:
                self._current = self._waiting.pop(0).open("rb")
            count = self._current.readinto(buffer)
            if count:
                return count
            self._current.close()
            self._current = None
        return 0

    def close(self) -> None:
        if self._current:
            self._current.close()
        super().close()
