"""Archives unpacked beside themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from evalkit.core.atomic_files import staging_folder
from evalkit.data.archives import extract, is_unpacked
from evalkit.data.tarballs import extract_tar, grouped, is_tar, tar_stem


def unpack_in_place(archives: Iterable[Path], folder: Path) -> Iterator[str]:
    """Unpack the archives of a repository in ``folder`` that are there and not unpacked; yield the name of
    each when it is.
    """
    there = [path for path in archives if path.exists()]
    for path in (path for path in there if not is_tar(path)):
        if not is_unpacked(path, folder) and not is_unpacked(path, path.parent):
            with staging_folder(path.parent) as work:
                extract(path, work)
                _move(work, path.parent)
            yield path.name
    for parts in grouped(path for path in there if is_tar(path)):
        target = parts[0].parent / tar_stem(parts[0])
        if not target.is_dir():
            with staging_folder(parts[0].parent) as work:
                extract_tar(parts, work)
                inner = work / tar_stem(parts[0])
                # The folder of the archive's name shows that it was unpacked: it comes last.
                others = [path for path in work.iterdir() if path != inner]
                for path in others:
                    _move_into(path, parts[0].parent)
                inner.rename(target) if inner.is_dir() else target.mkdir()
            yield tar_stem(parts[0])


def _move(source: Path, target: Path) -> None:
    for path in sorted(source.iterdir()):
        _move_into(path, target)


def _move_into(path: Path, folder: Path) -> None:
    """Move a file or the files of a folder, into folders that may be there already."""
    target = folder / path.name
    if path.is_dir():
        target.mkdir(exist_ok=True)
        _move(path, target)
    else:
        path.replace(target)
