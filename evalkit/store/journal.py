"""The append-only journal: what makes a run survive being killed at any instant.

Each writing process owns one file, ``journal/worker-NNN.jsonl``, under a lock that dies with the
process. A batch is written, flushed to disk, and looked for at its place: a folder that was removed or
renamed takes the file with it. A line torn by a kill is cut off when the file is opened again, so at most
the batch in flight is lost.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from evalkit.core.atomic_files import is_same, list_files, make_folder, write_atomic
from evalkit.core.errors import RunGone
from evalkit.core.strict_json import finite_json
from evalkit.core.validation import describe_validation_error
from evalkit.store.records import DERIVED, Record

DEEPEST = 100
"""Levels of lists and mappings in a line; deeper ones could be read, and not be written again."""


class JournalWriter:
    """Appends records to the first journal file of ``folder`` that nobody else is writing."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._lock, self.path = _claim(folder)
        # Unbuffered: what could not be written is not written later, after the command has said so.
        self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 - held open until `close`
        self._size = _end_last_line(self._file)

    def append(self, records: Iterable[Record]) -> None:
        """Write one batch and wait until it is on disk.

        Raises:
            OSError: it can't be written; what was stored before stays.
            RunGone: the file is no longer at its place; says where its answers are.
        """
        content = b"".join(format_line(_journalled(record)) for record in records)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise OSError(error.errno, error.strerror or str(error), str(self.path)) from None
        self._size += len(content)
        self.check_there()

    def check_there(self) -> None:
        """See :meth:`append` for what it raises."""
        if not is_same(self._file.fileno(), self.path):
            raise moved_error(self._file, self.path)

    def close(self) -> None:
        """Close the file and release the lock."""
        self._file.close()
        self._lock.release()

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.check_there()
        finally:
            self.close()


@dataclass(frozen=True)
class Journal:
    """What was read back: one record per key, and which lines could not be read, with the reason."""

    records: dict[str, Record]
    damaged: tuple[str, ...] = ()

    @property
    def unreadable(self) -> int:
        """How many lines could not be read."""
        return len(self.damaged)


def read_journal(folder: Path) -> Journal:
    """Read every journal file of a run.

    Of several records with one key, an answer beats an error and the first answer stands, so
    the result does not depend on which process wrote which file.
    """
    records: dict[str, Record] = {}
    damaged = []
    for path in list_files(folder, "worker-*.jsonl"):
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    record = parse_line(line)
                except ValueError as error:
                    damaged.append(f"{folder.name}/{path.name} line {number}: {error}")
                    continue
                known = records.get(record.key)
                if known is None or (known.failed and not record.failed):
                    records[record.key] = record
    return Journal(records, tuple(damaged))


def _claim(folder: Path) -> tuple[FileLock, Path]:
    number = 0
    while True:
        path = folder / f"worker-{number:03d}.jsonl"
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            number += 1
            continue
        return lock, path


def _end_last_line(file: FileIO) -> int:
    """Cut off what a kill tore; a line that lacks nothing but its line break gets it. Returns the size."""
    file.seek(0)
    content = file.readall()
    whole = content.rfind(b"\n") + 1
    last = content[whole:]
    if not last:
        return whole
    try:
        parse_line(last)
    except ValueError:
        file.truncate(whole)
        return whole
    file.write(b"\n")
    return len(content) + 1


def moved_error(file: FileIO, path: Path) -> RunGone:
    """Why a journal is no longer at its place, and where its answers are now."""
    run = path.parent.parent
    again = "repeat the command, and only what is missing is run"
    now = _place_of(file)
    if now is not None:
        return RunGone(
            f"run `{run}` was renamed while it ran",
            f"its journal is now `{now}`; all answers so far are in it",
            f"give `--output {now.parent.parent}`, or the folder its name back; {again}",
        )
    file.seek(0)
    content = file.readall()
    saved = _saved(run, content)
    return RunGone(
        f"run `{run}` was removed while it ran",
        f"its journal is no longer there; all answers of this command so far were saved as `{saved}`",
        f"mkdir -p '{path.parent}' && mv '{saved}' '{path.parent / 'worker-saved.jsonl'}'; {again}",
    )


def _place_of(file: FileIO) -> Path | None:
    """Where an open file is now, if it is anywhere and the system can tell."""
    with suppress(OSError):
        place = Path(os.readlink(f"/proc/self/fd/{file.fileno()}"))
        return place if is_same(file.fileno(), place) else None
    return None


def _saved(run: Path, content: bytes) -> Path:
    """Write answers beside a run that is no longer there, or where temporary files go."""
    name = f"{run.name[:200]}.answers-{secrets.token_hex(3)}.jsonl"
    try:
        return write_atomic(run.absolute().parent / name, content)
    except OSError:
        return write_atomic(Path(tempfile.gettempdir()) / name, content)


def _journalled(record: Record) -> dict[str, object]:
    fields = record.to_json()
    return {name: value for name, value in fields.items() if name not in DERIVED}


def format_line(fields: Mapping[str, object]) -> bytes:
    """A record as a line of standard JSON, which begins with a checksum of the rest of it. Numbers that are
    not finite, as which a data set's empty cells may come, are null in it.
    """
    try:
        return _strict_line(fields)
    except ValueError:
        return _strict_line(finite_json(fields))


def lines_of(records: Iterable[Record]) -> tuple[list[Record], bytes]:
    """Records as they will be read back, and their lines."""
    kept, lines = [], []
    for record in records:
        fields = record.to_json()
        try:
            lines.append(_strict_line(fields))
        except ValueError:
            fields = finite_json(fields)
            lines.append(_strict_line(fields))
            record = Record.from_json(fields)
        kept.append(record)
    return kept, b"".join(lines)


def _strict_line(fields: Mapping[str, object]) -> bytes:
    # Lone surrogates are legal in JSON, and may come out of a model or a data set.
    body = json.dumps(fields, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")
    return b'{"crc32": "%08x", %s\n' % (zlib.crc32(body), body[1:])


def parse_line(line: bytes) -> Record:
    """The record of a line; lines of format 1 have no checksum.

    Raises:
        ValueError: it is torn, changed, or was written by another version.
    """
    found = _SUMMED.fullmatch(line.removesuffix(b"\n"))
    if found:
        line = b"{" + found[2]
        if int(found[1], 16) != zlib.crc32(line):
            raise ValueError("its checksum is that of another line: it was changed or damaged")
    try:
        found = json.loads(line)
        if line.count(b"[") + line.count(b"{") > DEEPEST and _depth(found) > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep")
        return Record.from_json(finite_json(found) if _NOT_FINITE.search(line) else found)
    except ValidationError as error:
        raise ValueError(f"it is no record: {': '.join(describe_validation_error(error))}") from None
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no record: {error}") from None


_NOT_FINITE = re.compile(rb"NaN|Infinity|[eE]\+?[0-9]{3}")
_SUMMED = re.compile(rb'\{"crc32": "([0-9a-f]{8})", (.*)', re.DOTALL)


def _depth(value: Any) -> int:
    """How many levels of lists and mappings a value has."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [each for values in inner for each in values if isinstance(each, dict | list)]
    return depth
