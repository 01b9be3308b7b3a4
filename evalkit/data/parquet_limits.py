"""Parquet files are looked at before they are decompressed: what their pages grow to is stated twice."""

from __future__ import annotations

from collections.abc import Iterator
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
_DEEPEST = 8
_VARINT, _BINARY, _STRUCT = (3, 4, 5, 6), 8, 12  # types of Thrift's compact protocol; 3 is a single byte


def safe_batch_rows(path: Path) -> int:
    """How many rows of a Parquet file may be read at a time.

    Raises:
        ValueError: a column grows too much when it is decompressed, or its pages grow to more than its
            footer says; names it.
        OSError, pyarrow.ArrowException: the file can't be read.
    """
    import pyarrow.parquet as pq

    rows = BATCH_ROWS
    with open_regular(path) as file:
        metadata = pq.read_metadata(file)
        for group in range(metadata.num_row_groups):
            for number in range(metadata.row_group(group).num_columns):
                column = metadata.row_group(group).column(number)
                reason = _problem(file, column)
                if reason:
                    raise ValueError(f"column `{column.path_in_schema[:80]}` {reason}")
                if column.has_dictionary_page and column.total_uncompressed_size > USUAL_DICTIONARY:
                    rows = min(rows, max(1, BATCH_BYTES // column.total_uncompressed_size))
    return rows


def _problem(file: BinaryIO, column: Any) -> str | None:
    """Why a column of a row group may not be decompressed, or None."""
    stated = column.total_uncompressed_size
    reason = ratio_problem(column.total_compressed_size, stated)
    if reason or column.compression == "UNCOMPRESSED":
        return reason
    starts = [column.data_page_offset, column.dictionary_page_offset]
    start = min(each for each in starts if each)  # 0 or None where there is no dictionary
    grown = 0
    for size in _page_sizes(file, start, start + column.total_compressed_size):
        grown += size
        if grown > stated:
            return f"has pages that grow to {grown} bytes; the file's footer says {stated}"
    return None


def _page_sizes(file: BinaryIO, place: int, end: int) -> Iterator[int]:
    """What each page says that it grows to; ends at what is no page, which its reader says."""
    while place < end:
        header = _page_header(file, place)
        if header is None:
            return
        fields, length = header
        if min(fields.get(2, -1), fields.get(3, -1)) < 0:
            return
        yield fields[2]
        place += length + fields[3]


def _page_header(file: BinaryIO, place: int) -> tuple[dict[int, int], int] | None:
    """The whole numbers of a page's header by field, and its length; None where there is none."""
    window = _WINDOW
    while window <= _LONGEST_HEADER:
        file.seek(place)
        content = file.read(window)
        try:
            return _struct(content, 0, _DEEPEST)
        except IndexError:
            if len(content) < window:
                return None
            window *= 16
        except ValueError:
            return None
    return None


def _struct(content: bytes, at: int, depth: int) -> tuple[dict[int, int], int]:
    """The whole numbers of a Thrift structure by field, and where it ends (compact protocol).

    Raises:
        IndexError: it goes on behind what was read.
        ValueError: it is none.
    """
    if depth == 0:
        raise ValueError("too deep")
    fields: dict[int, int] = {}
    number = 0
    while content[at]:
        kind, step = content[at] & 15, content[at] >> 4
        at += 1
        if step:
            number += step
        else:
            number, at = _number(content, at)
        value, at = _value(content, at, kind, depth)
        if value is not None:
            fields[number] = value
    return fields, at + 1


def _value(content: bytes, at: int, kind: int, depth: int) -> tuple[int | None, int]:
    """A value, if it is a whole number, and where it ends."""
    if kind in (1, 2):  # true and false are types
        return None, at
    if kind in _VARINT:
        return _number(content, at) if kind != 3 else (None, at + 1)
    if kind == 7:
        return None, at + 8
    if kind == _BINARY:
        length, at = _unsigned(content, at)
        return None, at + length
    if kind == _STRUCT:
        return None, _struct(content, at, depth - 1)[1]
    raise ValueError("headers of pages have no lists and mappings")


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
