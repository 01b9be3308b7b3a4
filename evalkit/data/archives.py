"""Zip archives of media, unpacked once into the cache without trusting what they say.

A data set's archive comes from the network. Its member names could climb out of the folder
(``../``, absolute paths, links) and its sizes could fill the disk, so every member is checked
before the first byte is written.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from evalkit.data.regular import check_regular
from evalkit.errors import EnvironmentProblem
from evalkit.files import staging

# Deflate reaches 1032:1 at most, and only on constant data: media compress hardly at all.
_MAX_RATIO = 200
_RATIO_FROM = 64 * 2**20


class UnsafeArchive(EnvironmentProblem):
    """An archive with a member that may not be unpacked; nothing of it was written."""


def extract_once(archive: Path, cache: Path) -> Path:
    """Return the folder with the unpacked contents of a zip file, unpacking it if need be.

    The folder's name is derived from the archive's path, size and time, so a changed archive is
    unpacked anew. It appears only when it is complete: a killed process leaves nothing behind that
    a later one could mistake for the whole.

    Raises:
        UnsafeArchive: a member's name, type or size is not acceptable.
        EnvironmentProblem: the archive is damaged, or the disk is too small.
    """
    return unpacked_once(archive.stem, (archive,), cache, lambda folder: extract(archive, folder))


def unpacked_once(name: str, sources: Sequence[Path], cache: Path, unpack: Callable[[Path], None]) -> Path:
    """Let ``unpack`` fill a folder of the cache, unless that was done for the same ``sources``.

    Raises:
        EnvironmentProblem: one of them can't be read, or is no regular file.
    """
    from filelock import FileLock

    for source in sources:
        _check_file(source)
    target = cache / f"{name}-{_identity(sources)}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
            with staging(cache) as work:
                unpack(work)
                os.replace(work, target)
    return target


def extract(archive: Path, folder: Path) -> None:
    """Unpack a zip file into an existing folder; see :func:`extract_once` for what it raises."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(archive, opened.infolist())
            check_space(archive, folder, sum(member.file_size for member in members))
            for member in members:
                path = folder / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                # ZipFile.open reads no more than the declared size and checks the CRC.
                with opened.open(member) as source, path.open("xb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, FileExistsError) as error:
        raise EnvironmentProblem(
            f"archive `{archive}`", f"it can't be unpacked: {error}", "download it again"
        ) from None


def is_unpacked(archive: Path, folder: Path) -> bool:
    """Whether every file of a zip archive already lies in ``folder``, at its declared size."""
    _check_file(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(archive, opened.infolist())
    except zipfile.BadZipFile as error:
        raise EnvironmentProblem(
            f"archive `{archive}`", f"it can't be opened: {error}", "download it again"
        ) from None
    return all(_size(folder / member.filename) == member.file_size for member in members)


def _check_file(archive: Path) -> None:
    try:
        check_regular(archive)
    except OSError as error:
        raise EnvironmentProblem(
            f"archive `{archive}`", f"it can't be read: {error.strerror}", "download it again"
        ) from None


def is_inside(name: str) -> bool:
    """Whether a relative path stays below the folder it is joined to.

    >>> is_inside("data/a.mp4"), is_inside("../a.mp4"), is_inside("/etc/passwd"), is_inside("C:/a")
    (True, False, False, False)
    """
    path = PurePosixPath(name)
    return bool(path.parts) and not (
        path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\\" in name or "\0" in name
    )


def _checked(archive: Path, members: Sequence[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """The regular files of an archive; raises on a member that may not be unpacked."""
    files: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        reason = _objection(member, files)
        if reason:
            raise UnsafeArchive(
                f"archive `{archive}`",
                f"its member `{member.filename!r}` {reason}; nothing was unpacked",
                "download the archive from its publisher again, and don't unpack it by hand",
            )
        if not member.is_dir():
            files[str(PurePosixPath(member.filename))] = member
    return list(files.values())


def _objection(member: zipfile.ZipInfo, seen: dict[str, zipfile.ZipInfo]) -> str | None:
    mode = member.external_attr >> 16
    if not is_inside(member.filename):
        return "would be written outside of its folder"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if str(PurePosixPath(member.filename)) in seen:
        return "occurs twice"
    if member.file_size > _RATIO_FROM and member.file_size > _MAX_RATIO * max(1, member.compress_size):
        return f"claims to grow from {member.compress_size} to {member.file_size} bytes"
    return None


def check_space(archive: Path, folder: Path, needed: int) -> None:
    """Raise if the disk of ``folder`` has less than ``needed`` bytes free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise EnvironmentProblem(
            f"archive `{archive}`",
            f"unpacked it needs {needed / 1e9:.1f} GB and `{folder.parent}` has {free / 1e9:.1f} GB free",
            "free some space, or point EVALKIT_CACHE to a larger disk",
        )


def _identity(sources: Sequence[Path]) -> str:
    # The hub's cache names a file by a link to its hash: the resolved path tells revisions apart.
    facts = [(real, real.stat()) for real in (path.resolve() for path in sources)]
    notes = [f"{real}|{each.st_size}|{each.st_mtime_ns}" for real, each in facts]
    return hashlib.sha256("|".join(notes).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
