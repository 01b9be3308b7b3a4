"""The append-only journal: what makes a run survive being killed at any instant.

Each writing process owns one file, ``journal/worker-NNN.jsonl``, under a lock that dies with the
process. A batch is one ``write`` followed by ``fsync``; a line torn by a kill is cut off when the
file is opened again, so at most the batch in flight is lost.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from evalkit.files import listed
from evalkit.store.records import DERIVED, Record


class JournalWriter:
    """Appends records to the first journal file of ``folder`` that nobody else is writing."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock, self.path = _claim(folder)
        _cut_torn_line(self.path)
        self._file = open(self.path, "ab")  # noqa: SIM115 - held open until `close`

    def append(self, records: Iterable[Record]) -> None:
        """Write one batch and wait until it is on disk."""
        self._file.write(b"".join(line_of(_journalled(record)) for record in records))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file and release the lock."""
        self._file.close()
        self._lock.release()

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Journal:
    """What was read back: one record per key, and how many lines could not be read."""

    records: dict[str, Record]
    unreadable: int


def read_journal(folder: Path) -> Journal:
    """Read every journal file of a run.

    Of several records with one key, an answer beats an error and the first answer stands, so
    the result does not depend on which process wrote which file.
    """
    records: dict[str, Record] = {}
    unreadable = 0
    for path in listed(folder, "worker-*.jsonl"):
        with open(path, "rb") as lines:
            for line in lines:
                record = _parse(line)
                if record is None:
                    unreadable += 1
                    continue
                known = records.get(record.key)
                if known is None or (known.failed and not record.failed):
                    records[record.key] = record
    return Journal(records, unreadable)


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


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with open(path, "r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            file.truncate(whole)


def _journalled(record: Record) -> dict[str, object]:
    fields = record.to_json()
    return {name: value for name, value in fields.items() if name not in DERIVED}


def line_of(fields: Mapping[str, object]) -> bytes:
    """A record as a line, which begins with a checksum of the rest of it."""
    # Lone surrogates are legal in JSON, and may come out of a model or a data set.
    body = json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return b'{"crc32": "%08x", %s\n' % (zlib.crc32(body), body[1:])


def parsed(line: bytes) -> Record:
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
        return Record.from_json(json.loads(line))
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no record: {error}") from None


_SUMMED = re.compile(rb'\{"crc32": "([0-9a-f]{8})", (.*)', re.DOTALL)


def _parse(line: bytes) -> Record | None:
    try:
        return parsed(line)
    except ValueError:
        return None
