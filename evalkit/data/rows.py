"""Data sets in a local file: JSON lines, CSV or Parquet, with a folder of images and videos.

Nothing is mended in silence: a line that can't be read, or has other cells than its header, is an error of
that row and names its line; a file that can't be split into rows at all is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from evalkit.core.columns import ColumnType, DeclaredColumns, inferred_types, shortened, type_mismatches
from evalkit.core.errors import EnvironmentProblem, UsageError, did_you_mean
from evalkit.core.task import Row
from evalkit.core.types import MediaRef
from evalkit.data.archives import is_inside
from evalkit.data.file_hash import file_hash
from evalkit.data.row_readers import PROBLEM, READERS, Unreadable, with_images

_HEAD = 64
"""How many rows are read ahead to infer columns and their types where the file has no schema."""

_FIX = "mend the file, or correct the task's `columns`"


@dataclass(frozen=True)
class Rows(DeclaredColumns):
    """A ``.jsonl``, ``.csv``, ``.tsv`` or ``.parquet`` file.

    Attributes:
        file: the file; relative to the task file's folder. ``~`` is the home folder.
        media: the folder below which the images and videos that rows name lie, by relative paths; by default
            the file's own folder.
        columns: columns that the task reads, by name or with what each holds
            (:mod:`evalkit.core.columns`), as for ``HubDataset``. Cells of CSV are text: one that is declared
            a number is read as one, and one that is declared a list or a record as JSON. In a column that is
            declared of images, paths are images.
        encoding: of JSON lines and CSV.
    """

    file: str
    media: str | None = None
    columns: tuple[str, ...] | Mapping[str, ColumnType] = ()
    encoding: str = "utf-8"
    folder: str = ""  # of the task's file, see `declared_in`
    revision: str | None = None  # of the content, see `open`

    def declared_in(self, folder: Path) -> Rows:
        """The same with relative paths counted from ``folder``."""
        return replace(self, folder=str(folder))

    def open(self, data_root: str | None) -> Rows:
        """The same with the SHA-256 of what the file holds now, unless it can't be read."""
        try:
            return replace(self, revision=f"sha256:{file_hash(self._path(self.file))}")
        except OSError:  # reading the rows says so
            return self

    def rows(self, data_root: str | None) -> Iterator[Row]:
        """Yield the rows in the file's order, each with its ``row_number``, from 0; ``data_root`` has no say.

        Raises:
            EnvironmentProblem: the file or folder is not there, can't be told into rows, has none, is not as
                declared, or changes while it is read.
            UsageError: the file is of another format.
        """
        path = self._path(self.file)
        reader = READERS.get(path.suffix.lower())
        if reader is None:
            hint = did_you_mean(path.suffix, READERS)
            raise UsageError(
                f"data file `{path}`", f"`{path.suffix}` is not read.{hint}", f"use {', '.join(READERS)}"
            )
        try:
            before = _state(path)
            if self.revision not in (None, f"sha256:{file_hash(path)}"):
                raise self._problem("it was changed since it was opened", "repeat the command")
            if self.media is not None and not self._media.is_dir():
                raise self._problem(f"its media folder `{self._media}` is not there", "correct `media`")
            columns = {column: self.kinds.get(column) for column in self.columns}
            stored = (with_images(row, columns) for row in reader(path, self.encoding, columns))
            number = -1
            for number, row in enumerate(self._as_declared(stored)):
                yield {"row_number": number, **row}
            if number < 0:
                raise self._problem("it has no rows", "put something in it")
            if _state(path) != before:
                raise self._problem("it was changed while it was read", "repeat the command")
        except Unreadable as error:
            raise self._problem(str(error), error.fix or _FIX) from None
        except OSError as error:
            where = "correct `file`; a relative path counts from the task's file"
            raise self._problem(error.strerror or str(error), where) from None

    def check(self, row: Row) -> str | None:
        """Why a row can't be used, or None."""
        if PROBLEM in row:
            return str(row[PROBLEM])
        absent = [column for column in self.columns if column not in row]
        if absent and not (absent[0] in self.kinds and self.kinds[absent[0]].null):
            return f"column `{absent[0]}` is absent"
        return super().check(row)

    def locate(self, ref: MediaRef) -> MediaRef:
        """The medium that a row names, as a file below the media folder.

        Raises:
            ValueError: the path is absolute, leads out of the folder, or nothing is there; says which.
        """
        name = ref.path
        if name is None:
            return ref
        if os.path.isabs(name) or name.startswith("~"):
            raise ValueError(f"{shortened(name)} is an absolute path; write it relative to the media folder")
        if not is_inside(name):
            raise ValueError(f"{shortened(name)} is no path below the media folder (`a/b.png`)")
        path = self._media / name
        try:
            there = path.is_dir() if ref.frame_rate else path.is_file()
        except OSError:  # a name that no file can have
            there = False
        if not there:
            kind = "folder" if ref.frame_rate else "file"
            raise ValueError(
                f"there is no {kind} {shortened(name)} in the media folder `{self.media or '.'}`"
            )
        return replace(ref, path=str(path))

    def describe(self) -> dict[str, str]:
        """The file and the folder as the task names them; once it is open, also its content's hash."""
        media = {"media": self.media} if self.media is not None else {}
        revision = {"revision": self.revision} if self.revision else {}
        return {"file": self.file, **media, **revision}

    def sources(self, data_root: str | None) -> Sequence[Path]:
        """The file and the media folder."""
        return [self._path(self.file), *self.media_roots(data_root)]

    def media_roots(self, data_root: str | None) -> Sequence[Path]:
        """The folder in which files that rows name are looked up."""
        return [self._media]

    @property
    def _media(self) -> Path:
        return self._path(self.file).parent if self.media is None else self._path(self.media)

    def _path(self, name: str) -> Path:
        # Absolute, so that a run in another folder means the same file.
        return (Path(self.folder) / Path(name).expanduser()).absolute()

    def _as_declared(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Check the first rows against the declared columns, then yield all.

        Raises:
            Unreadable: a column is absent, or of another type throughout.
        """
        head = list(islice(rows, _HEAD))
        good = [row for row in head if PROBLEM not in row]
        if head and not good:
            raise Unreadable(
                f"none of its first {len(head)} lines is a row; of the first, {head[0][PROBLEM]}"
            )
        known = dict.fromkeys(name for row in good for name in row)
        absent = [column for column in self.columns if column not in known] if good else []
        if absent:
            names = ", ".join(f"`{each}`" for each in absent)
            raise Unreadable(
                f"its rows have no {names}; they have {', '.join(f'`{each}`' for each in known)}"
            )
        wrong = type_mismatches(self.kinds, inferred_types(good, self.kinds))
        if wrong:
            raise Unreadable("; ".join(wrong))
        return chain(head, rows)

    def _problem(self, why: str, fix: str) -> EnvironmentProblem:
        return EnvironmentProblem(f"data file `{self._path(self.file)}`", why, fix)


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino
