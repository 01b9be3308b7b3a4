"""Readers of JSON lines, CSV and Parquet; a row that can't be read becomes a mapping with its problem."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evalkit.core.columns import (
    ColumnType,
    feature_type,
    is_json_feature,
    parse_json_cell,
    shortened,
    type_mismatches,
)
from evalkit.core.task import Row
from evalkit.data.delimited import records
from evalkit.data.parquet_limits import safe_batch_rows

Columns = Mapping[str, ColumnType | None]
Reader = Callable[[Path, str, Columns], Iterator[Row]]

PROBLEM = "evalkit: problem"
"""The only column of a row that can't be read: the reason."""

_IMAGES = frozenset({"image", "list of image"})
_WIDE = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_WHOLE = re.compile(r"[+-]?\d+")


class Unreadable(ValueError):
    """A file that can't be split into rows; the message says why, ``fix`` how to mend it (None: as usual)."""

    def __init__(self, why: str, fix: str | None = None) -> None:
        super().__init__(why)
        self.fix = fix


def read_jsonl(path: Path, encoding: str, columns: Columns) -> Iterator[Row]:
    """A row for every line that is not blank."""
    with open(path, "rb") as lines:
        first = True
        for number, line in enumerate(lines, start=1):
            if number == 1:
                _check_width(line, encoding)
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                if first and line.lstrip().startswith(b"["):
                    raise Unreadable("it is a list, not a line for each row", "write an object a line")
                yield _json_row(line, number, encoding)
                first = False


def _json_row(line: bytes, number: int, encoding: str) -> Row:
    try:
        found = json.loads(_decoded(line, encoding), object_pairs_hook=_pairs)
    except UnicodeDecodeError as error:
        return {PROBLEM: f"line {number} is no {encoding} text: byte {error.start} can't be read"}
    except (ValueError, RecursionError) as error:
        return {PROBLEM: f"line {number} can't be read as JSON: {error}"}
    if not isinstance(found, dict):
        return {PROBLEM: f"line {number} is no object of columns, but {shortened(found)}"}
    return found


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a repeated name is ambiguous, and an error."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {twice!r} twice")
    return found


def read_csv(path: Path, encoding: str, columns: Columns) -> Iterator[Row]:
    """A row for every record below the header; cells stand between commas, or in ``.tsv`` between tabs."""
    with open(path, "rb") as start:
        _check_width(start.read(4), encoding)
    content = _text_of(path, encoding)
    mark = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        found = records(content, mark)
    except ValueError as error:
        raise Unreadable(
            str(error),
            "mend it there: a cell with quotes, commas or line ends stands in quotes; quotes in it double",
        ) from None
    header = found[0][1] if found else []
    if header:
        _check_header(header, mark)
    for line, cells in found[1:]:
        yield _csv_row(header, cells, line, columns)


def _text_of(path: Path, encoding: str) -> str:
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        return _decoded(content, encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable(
            f"line {line} is no {encoding} text (byte {content[error.start]:#04x})",
            'save it as UTF-8, or say how it is encoded: `Rows(..., encoding="cp1252")`',
        ) from None


def _check_header(header: list[str], mark: str) -> None:
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise Unreadable(f"its header has `{twice[0]}` twice: which column is meant can't be told")
    other = next((each for each in (";", "\t", ",") if each != mark and each in header[0]), None)
    if len(header) == 1 and other:
        raise Unreadable(
            f"its header is one cell, {shortened(header[0])}: its cells seem to be separated by {other!r}",
            "save it with commas, or with tabs as `.tsv`",
        )


def _csv_row(header: list[str], cells: list[str], line: int, columns: Columns) -> Row:
    if len(cells) != len(header):
        return {
            PROBLEM: f"the record that ends in line {line} has {len(cells)} cells, its header {len(header)}"
        }
    try:
        pairs = zip(header, cells, strict=True)
        return {name: _cell(name, text, columns.get(name)) for name, text in pairs}
    except ValueError as error:
        return {PROBLEM: f"line {line}: {error}"}


def _cell(name: str, text: str, kind: ColumnType | None) -> Any:
    """A CSV cell converted to its declared type; undeclared ones stay text."""
    if kind is None or not kind.names or "text" in kind.names:
        return text if text or kind is None or not kind.null else None
    if not text.strip():
        return None
    if "number" in kind.names or "whole number" in kind.names:
        return _number(name, text.strip(), "number" in kind.names)
    if kind.names == ("image",):
        return text
    try:
        return json.loads(text, object_pairs_hook=_pairs)
    except (ValueError, RecursionError):
        raise ValueError(
            f"column `{name}` is {shortened(text)}; the task declares {kind}: write it as JSON"
        ) from None


def _number(name: str, text: str, broken: bool) -> int | float:
    if _WHOLE.fullmatch(text):
        return int(text)
    try:
        found = float(text) if broken and "_" not in text else math.nan
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"column `{name}` is {shortened(text)}, no {'' if broken else 'whole '}number")
    return found


def read_parquet(path: Path, encoding: str, columns: Columns) -> Iterator[Row]:
    """A row for every record; images as ``datasets`` embeds them stay encoded."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Features

    try:
        with pq.ParquetFile(path) as file:
            features = dict(Features.from_arrow_schema(file.schema_arrow))
            _check_features(features, columns)
            mixed = {name: feature for name, feature in features.items() if is_json_feature(feature)}
            for batch in file.iter_batches(safe_batch_rows(path)):
                for row in batch.to_pylist():
                    yield {**row, **{name: parse_json_cell(each, row[name]) for name, each in mixed.items()}}
    except (pa.ArrowException, ValueError, RuntimeError, NotImplementedError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(
            " ".join(str(error).split()) or type(error).__name__, "make the file again"
        ) from None


def _check_features(features: Mapping[str, Any], columns: Columns) -> None:
    """Compare the declared columns with the Parquet schema, which also a file without rows has."""
    absent = [name for name in columns if name not in features]
    if absent:
        have = ", ".join(f"`{name}`" for name in features)
        raise Unreadable(f"its rows have no {', '.join(f'`{name}`' for name in absent)}; they have {have}")
    declared = {name: kind for name, kind in columns.items() if kind is not None}
    wrong = type_mismatches(
        declared, {name: as_image(kind, feature_type(features[name])) for name, kind in declared.items()}
    )
    if wrong:
        raise Unreadable("; ".join(wrong))


def as_image(kind: ColumnType, name: str) -> str:
    """The type of a column; a column of paths counts as images where images are declared.

    >>> as_image(ColumnType(("list of image",)), "list of text"), as_image(ColumnType(("text",)), "text")
    ('list of image', 'text')
    """
    found = name.removesuffix("text") + "image" if name.endswith("text") else name
    return found if found in kind.names else name


def with_images(row: Row, columns: Columns) -> Row:
    """A row with image paths turned into image cells, as ``datasets`` gives them."""
    declared = {
        name for name, kind in columns.items() if kind is not None and not _IMAGES.isdisjoint(kind.names)
    }
    return {name: _image_cell(value) if name in declared else value for name, value in row.items()}


def _image_cell(value: Any) -> Any:
    if isinstance(value, list):
        return [_image_cell(each) for each in value]
    return {"bytes": None, "path": value} if isinstance(value, str) else value


def _check_width(start: bytes, encoding: str) -> None:
    name = _WIDE.get(start[:2])
    if name and encoding.lower().replace("_", "-").startswith("utf-8"):
        raise Unreadable(f"it is {name} text", "save it as UTF-8")


def _decoded(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except LookupError:
        raise Unreadable(
            f"there is no encoding `{encoding}`", 'use "utf-8", or another of Python\'s'
        ) from None


READERS: Mapping[str, Reader] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
}
