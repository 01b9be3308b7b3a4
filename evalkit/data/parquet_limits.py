"""Parquet files are looked at before they are decompressed: what their pages grow to is stated twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from evalkit.data.archives import ratio_problem
from evalkit.data.regular_files import open_regular

BATCH_ROWS = 256
"""Rows that are read at a time."""

BATCH_BYTES = 1 << 28
"""What the rows of a batch may take where a value of a dictionary may stand in every one of them."""

USUAL_DICTIONARY = 1 << 24
"""Bytes that no dictionary of the usual writers reaches, which go over to plain values at one megabyte."""

_WINDOW = 1 << 16
_LONGEST_HEADER = 1 << 24
_DEEPEST = 12
_MAGIC = b"PAR1"


def safe_batch_rows(path: Path) -> int:
    """How many rows of a Parquet file may be read at a time.

    Its footer is read here, since pyarrow's own view of a damaged one may end the process. What is no footer
    is left to pyarrow, which says so.

    Raises:
        ValueError: a column grows too much when it is decompressed, or its pages grow to more than its
            footer says; names it.
        OSError: the file can't be read.
    """
    rows = BATCH_ROWS
    with open_regular(path) as file:
        for column in _columns(file):
            reason = _problem(file, column)
            if reason:
                raise ValueError(f"column `{column.name[:80]}` {reason}")
            if column.dictionary and column.unpacked > USUAL_DICTIONARY:
                rows = min(rows, max(1, BATCH_BYTES // column.unpacked))
    return rows


@dataclass(frozen=True)
class _Column:
    """A column of a row group as the footer states it, in bytes; ``dictionary``: whether it has one."""

    name: str
    start: int
    packed: int
    unpacked: int
    dictionary: bool


def _columns(file: BinaryIO) -> list[_Column]:
    """The columns of all row groups; none where there is no footer."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 8))
    last = file.read(8)
    length = int.from_bytes(last[:4], "little")
    if last[4:] != _MAGIC or length + 8 > end:
        return []
    file.seek(end - 8 - length)
    try:
        footer, _ = _struct(file.read(length), 0, _DEEPEST)
        return [_column(chunk[3]) for group in footer[4] for chunk in group[1]]
    except (IndexError, KeyError, TypeError, ValueError, AttributeError):
        return []


def _column(fields: dict[int, Any]) -> _Column:
    starts = [fields[9], fields.get(11) or fields[9]]
    names = b".".join(fields[3]).decode("utf-8", "replace")
    return _Column(names, min(starts), int(fields[7]), int(fields[6]), starts[0] != starts[1])


def _problem(file: BinaryIO, column: _Column) -> str | None:
    """Why a column of a row group may not be decompressed, or None."""
    reason = ratio_problem(column.packed, column.unpacked)
    if reason:
        return reason
    grown = 0
    for size in _page_sizes(file, column.start, column.start + column.packed):
        grown += size
        if grown > column.unpacked:
            return f"has pages that grow to {grown} bytes; the file's footer says {column.unpacked}"
    return None


def _page_sizes(file: BinaryIO, place: int, end: int) -> Iterator[int]:
    """What each page says that it grows to; ends at what is no page, which its reader says."""
    while 0 <= place < end:
        fields, length = _page_header(file, place)
        unpacked, packed = fields.get(2), fields.get(3)
        if not isinstance(unpacked, int) or not isinstance(packed, int) or min(unpacked, packed) < 0:
            return
        yield unpacked
        place += length + packed


def _page_header(file: BinaryIO, place: int) -> tuple[dict[int, Any], int]:
    """A page's header by field, and its length; empty where there is none."""
    window = _WINDOW
    while window <= _LONGEST_HEADER:
        file.seek(place)
        content = file.read(window)
        try:
            return _struct(content, 0, _DEEPEST)
        except IndexError:
            if len(content) < window:
                break
            window *= 16
        except ValueError:
            break
    return {}, 0


def _struct(content: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a Thrift structure by number, and where it ends (compact protocol).

    Raises:
        IndexError: it goes on behind what was read.
        ValueError: it is none.
    """
    if depth == 0:
        raise ValueError("too deep")
    fields: dict[int, Any] = {}
    number = 0
    while content[at]:
        kind, step = content[at] & 15, content[at] >> 4
        at += 1
        if step:
            number += step
        else:
            number, at = _number(content, at)
        # The values of truths are their types, but in a list.
        fields[number], at = (None, at) if kind in (1, 2) else _value(content, at, kind, depth)
    return fields, at + 1


def _value(content: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value that is no field of a structure, and where it ends; None for numbers that nobody asks for."""
    if kind in (1, 2, 3, 7):
        return None, at + (8 if kind == 7 else 1)
    if kind in (4, 5, 6):
        return _number(content, at)
    if kind == 8:
        length, at = _unsigned(content, at)
        if at + length > len(content):
            raise IndexError
        return content[at : at + length], at + length
    if kind in (9, 10):
        return _list(content, at, depth)
    if kind == 12:
        return _struct(content, at, depth - 1)
    raise ValueError("no type that Parquet has")


def _list(content: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    kind, count = content[at] & 15, content[at] >> 4
    at += 1
    if count == 15:
        count, at = _unsigned(content, at)
    if count > len(content) - at:
        raise ValueError("longer than what holds it")
    found = []
    for _ in range(count):
        value, at = _value(content, at, kind, depth)
        found.append(value)
    return found, at


def _number(content: bytes, at: int) -> tuple[int, int]:
    value, at = _unsigned(content, at)
    return (value >> 1) ^ -(value & 1), at


def _unsigned(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("no number")
