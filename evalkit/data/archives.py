"""Zip archives of media, unpacked once into the cache without trusting what they say.

A data set's archive comes from the network. Its member names could climb out of the folder
(``../``, absolute paths, links) and its sizes could fill the disk, so every member is checked
before the first byte is written.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from evalkit.core.atomic_files import atomic_folder
from evalkit.core.errors import EnvironmentProblem
from evalkit.data.regular_files import check_regular

# Deflate reaches 1032:1 at most, and only on constant data: media compress hardly at all.
MAX_RATIO = 200
"""How many times its size an archive, or a member, may grow to when it is unpacked."""
RATIO_FROM = 64 * 2**20
"""Bytes below which growth does no harm."""
MAX_MEMBERS = 2_000_000
_LONGEST_NAME = 255  # bytes of a file's name, with every usual file system


DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
    # Two members are a file and a folder of one name, or a name is in no encoding.
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    UnicodeError,
)
"""What unpacking a damaged archive raises."""


class UnsafeArchive(EnvironmentProblem):
    """An archive with a member that may not be unpacked; nothing of it was written."""


def extracted(archive: Path, cache: Path) -> Path:
    """Return the folder with the unpacked contents of a zip file, unpacking it if need be.

    The folder's name is derived from the archive's path, size and time, so a changed archive is
    unpacked anew. It appears only when it is complete: a killed process leaves nothing behind that
    a later one could mistake for the whole.

    Raises:
        UnsafeArchive: a member's name, type or size is not acceptable.
        EnvironmentProblem: the archive is damaged, or the disk is too small.
    """
    return cached_folder(archive.stem, (archive,), cache, lambda folder: extract(archive, folder))


def cached_folder(name: str, sources: Sequence[Path], cache: Path, unpack: Callable[[Path], None]) -> Path:
    """A folder of the cache, filled by ``unpack`` unless it exists for the same ``sources``.

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
            with atomic_folder(target, durable=False) as work:
                unpack(work)
    return target


def extract(archive: Path, folder: Path) -> None:
    """Unpack a zip file into an existing folder; see :func:`extracted` for what it raises."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(archive, opened.infolist())
            check_ratio(
                archive, archive.stat().st_size, sum(each.file_size for each in members), len(members)
            )
            check_space(archive, folder, sum(member.file_size for member in members))
            for member in members:
                path = folder / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                # ZipFile.open reads no more than the declared size and checks the CRC.
                with opened.open(member) as source, path.open("xb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    except DAMAGED as error:
        raise EnvironmentProblem(
            f"archive `{archive}`", f"it can't be unpacked: {error}", "download it again"
        ) from None


def is_unpacked(archive: Path, folder: Path) -> bool:
    """Whether every file of a zip archive already lies in ``folder``, at its declared size."""
    _check_file(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(archive, opened.infolist())
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
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
        reason = member_problem(member) or (
            "occurs twice" if str(PurePosixPath(member.filename)) in files else None
        )
        if reason:
            raise UnsafeArchive(
                f"archive `{archive}`",
                f"its member `{member.filename!r}` {reason}; nothing was unpacked",
                "download the archive from its publisher again, and don't unpack it by hand",
            )
        if not member.is_dir():
            files[str(PurePosixPath(member.filename))] = member
    return list(files.values())


def member_problem(member: zipfile.ZipInfo) -> str | None:
    """Why a member of a zip archive may not be unpacked, or None."""
    mode = member.external_attr >> 16
    wrong_name = name_problem(member.filename)
    if wrong_name:
        return wrong_name
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    return ratio_problem(member.compress_size, member.file_size)


def name_problem(name: str) -> str | None:
    """Why a member's name is refused, or None.

    >>> name_problem("../a"), name_problem("a/b.png")
    ('would be written outside of its folder', None)
    """
    if not is_inside(name):
        return "would be written outside of its folder"
    longest = max(len(part.encode("utf-8", "surrogateescape")) for part in PurePosixPath(name).parts)
    if longest > _LONGEST_NAME:
        return f"has a name of {longest} bytes; file systems take {_LONGEST_NAME}"
    return None


def ratio_problem(packed: int, unpacked: int) -> str | None:
    """Why a compressed size is refused as a decompression bomb, or None.

    >>> ratio_problem(1_000_000, 900_000_000)
    'claims to grow from 1000000 to 900000000 bytes; at most 200 times its size is unpacked'
    """
    if unpacked > RATIO_FROM and unpacked > MAX_RATIO * max(1, packed):
        grows = f"claims to grow from {packed} to {unpacked} bytes"
        return f"{grows}; at most {MAX_RATIO} times its size is unpacked"
    return None


def check_ratio(archive: Path, packed: int, unpacked: int, members: int) -> None:
    """Raise if an archive grows too much, or has too many members.

    Raises:
        UnsafeArchive: says the limit.
    """
    reason = ratio_problem(packed, unpacked)
    if members > MAX_MEMBERS:
        reason = f"has more than {MAX_MEMBERS} members"
    if reason:
        raise UnsafeArchive(
            f"archive `{archive}`",
            f"it {reason}; nothing of it is kept",
            "download the archive from its publisher again, and don't unpack it by hand",
        )


def zip_bomb_problem(path: Path) -> str | None:
    """Why a zip file (a spreadsheet, a log) is too large to unpack, or None; also None for other files.

    >>> zip_bomb_problem(Path(__file__)) is None
    True
    """
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as opened:
            members = opened.infolist()
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError):
        return None  # its reader says so
    if len(members) > MAX_MEMBERS:
        return f"has more than {MAX_MEMBERS} members"
    each = (ratio_problem(member.compress_size, member.file_size) for member in members)
    whole = ratio_problem(path.stat().st_size, sum(member.file_size for member in members))
    return next((reason for reason in each if reason), whole)


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
