"""Scored records by column: ``records.parquet``, a view beside ``records.jsonl``.

What is no text or number (references, breakdowns, media) is JSON in its column, so that a row is read back
as the very record that its line is. Reports read the columns that they need; whole records are decoded a few
thousand at a time.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, BinaryIO, overload

from evalkit.core.strict_json import finite_json
from evalkit.core.types import MediaInfo
from evalkit.metrics.base import Score
from evalkit.store.batches import batches
from evalkit.store.records import Record

if TYPE_CHECKING:
    import pyarrow as pa

_FIGURES = b"figures"
FORMAT = b"5"  # of the columns; raise it when their meaning changes
_KEPT = 2**26  # bytes of row groups that are kept
_FEW = 60_000  # rows, about 40 MB of what scores add up from
_ERRORS = "surrogatepass"

_TEXTS = (
    "arm", "model", "rope", "task", "sample_id", "key", "cluster_id", "prompt", "raw", "finish_reason",
    "error", "box_space", "reasoning", "final",
)  # fmt: skip
_NUMBERS = ("index", "prompt_tokens", "visual_tokens", "repetition")
_JSON = ("reference", "token_ids", "groups", "meta", "media", "seconds", "flags", "margins")
_JUDGED = ("parsed", "parse_error", "detail", "rule")
_DIGESTED = ("reference", "media", "prompt")


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """The part of a record that scores add up from; ``video_seconds`` is the time of the last frame shown."""

    sample_id: str
    cluster_id: str
    score: Score | None
    flags: tuple[str, ...]
    groups: Mapping[str, Any]
    labels: Mapping[str, Any]
    failed: bool
    visual_tokens: int
    video_seconds: float | None
    repetition: int = 0

    @classmethod
    def of(cls, record: Record) -> ScoreRow:
        """That of a record."""
        return cls(
            record.sample_id,
            record.cluster_id,
            record.score,
            record.flags,
            record.groups,
            record.labels,
            record.failed,
            record.visual_tokens,
            _video_seconds(record),
            record.repetition,
        )


class RecordsTable:
    """The columns of a run's records, read from a Parquet file when they are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(file, page_checksum_verification=True)
        self._group: tuple[int, dict[str, list[Any]]] | None = None
        groups = [
            self._file.metadata.row_group(n).num_rows for n in range(self._file.metadata.num_row_groups)
        ]
        self._starts = [0, *accumulate(groups)][:-1]
        self._read: dict[tuple[int, tuple[str, ...]], pa.Table] = {}

    @cached_property
    def figures(self) -> Mapping[str, Mapping[str, float]]:
        """The figures that were stored with the records, by the name given to :func:`write_columns`."""
        stored = json.loads((self._file.schema_arrow.metadata or {}).get(_FIGURES, b"{}"))
        return {
            name: {figure: math.nan if value is None else value for figure, value in figures.items()}
            for name, figures in stored.items()
        }

    @property
    def current(self) -> bool:
        """Whether this version of evalkit wrote the columns."""
        return (self._file.schema_arrow.metadata or {}).get(b"evalkit") == FORMAT

    def row_of_key(self) -> dict[tuple[str, str], int]:
        """The row of every system and key."""
        pairs = zip(self.column("arm"), self.column("key"), strict=True)
        return {pair: row for row, pair in enumerate(pairs)}

    def column(self, name: str) -> list[Any]:
        """One column's values; JSON is not decoded."""
        return _values(self._file.read([name]).column(name))

    def arrow(self, *names: str) -> pa.Table:
        """Some columns as they are stored, which takes a fraction of their values' memory."""
        return self._file.read(list(names))

    @cached_property
    def score_columns(self) -> pa.Table:
        """The columns that verdicts are made of."""
        return self.arrow("sample_id", "cluster_id", "score", *_JUDGED, "flags", "groups", "links",
                          "finish_reason", "visual_tokens", "video_seconds", "repetition")  # fmt: skip

    @cached_property
    def digests(self) -> pa.Table:
        """The columns that systems are compared by."""
        return self.arrow(*(f"{name}_digest" for name in _DIGESTED))

    @property
    def small(self) -> bool:
        """Whether what is made of its rows may be kept in memory."""
        return bool(self._file.metadata.num_rows <= _FEW)

    def group_of(self, row: int) -> int:
        """The number of the row group that a row is in."""
        return bisect_right(self._starts, row) - 1

    def values(self, group: int, rows: Sequence[int], names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Some columns' values in some rows of a row group, row by row. The groups read last are kept: a page
        goes through several systems side by side.
        """
        place = (group, tuple(names))
        read = self._read.pop(place, None)
        if read is None:
            read = self._file.read_row_group(group, list(names))
            while self._read and sum(each.nbytes for each in self._read.values()) + read.nbytes > _KEPT:
                del self._read[next(iter(self._read))]
        self._read[place] = read
        part = _taken(read, [row - self._starts[group] for row in rows])
        return zip(*(_values(part.column(name)) for name in names), strict=True)

    def record(self, row: int) -> Record:
        """The whole record of a row; those of one row group are decoded from one read."""
        number = self.group_of(row)
        place = row - self._starts[number]
        if self._group is None or self._group[0] != number:
            read = self._file.read_row_group(number, list(_ALL))
            self._group = (number, {name: _values(read.column(name)) for name in _ALL})
        return Record.from_json(_fields({name: values[place] for name, values in self._group[1].items()}))


class StoredRecords(Sequence[Record]):
    """Some rows of a table as records, which are decoded when they are looked at."""

    def __init__(self, table: RecordsTable, rows: Sequence[int]) -> None:
        self.table = table
        self.rows = rows
        self._score_rows: list[ScoreRow] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Record: ...

    @overload
    def __getitem__(self, place: slice) -> StoredRecords: ...

    def __getitem__(self, place: int | slice) -> Record | StoredRecords:
        if isinstance(place, slice):
            return StoredRecords(self.table, self.rows[place])
        return self.table.record(self.rows[place])

    def __iter__(self) -> Iterator[Record]:
        return (self.table.record(row) for row in self.rows)

    def only(self, kept: Iterable[bool]) -> StoredRecords:
        """The rows of which ``kept`` says so."""
        return StoredRecords(self.table, [row for row, keep in zip(self.rows, kept, strict=True) if keep])

    def ids(self) -> list[str]:
        """The samples' ids."""
        return _values(_taken(self.table.score_columns.select(["sample_id"]), self.rows).column(0))

    def digests(self, name: str) -> list[bytes]:
        """Digests of a field that systems are compared by."""
        return _values(_taken(self.table.digests.select([f"{name}_digest"]), self.rows).column(0))

    def score_rows(self) -> list[ScoreRow]:
        """The part of each record that scores add up from."""
        if self._score_rows is not None:
            return self._score_rows
        found = _taken(self.table.score_columns, self.rows)
        columns = {name: _values(found.column(name)) for name in found.column_names}
        columns["parsed"] = _decoded(columns["parsed"])
        rows = [_score_row(*values) for values in zip(*columns.values(), strict=True)]
        if self.table.small:
            self._score_rows = rows
        return rows


def _taken(table: pa.Table, rows: Sequence[int]) -> pa.Table:
    """Some rows of a table; of consecutive ones nothing is copied."""
    begin = rows[0] if rows else 0
    if list(rows) == list(range(begin, begin + len(rows))):
        return table.slice(begin, len(rows))
    return table.take(list(rows))


def score_rows(records: Sequence[Record]) -> Sequence[ScoreRow]:
    """The part of each record that scores add up from, without decoding the rest of stored ones."""
    return (
        records.score_rows()
        if isinstance(records, StoredRecords)
        else [ScoreRow.of(each) for each in records]
    )


def sample_ids(records: Sequence[Record]) -> list[str]:
    """The ids of the records' samples, without decoding the rest of stored ones."""
    return records.ids() if isinstance(records, StoredRecords) else [record.sample_id for record in records]


def filtered(records: Sequence[Record], kept: Sequence[bool]) -> Sequence[Record]:
    """The records of which ``kept`` says so."""
    if isinstance(records, StoredRecords):
        return records.only(kept)
    return [record for record, keep in zip(records, kept, strict=True) if keep]


def write_columns(
    records: Iterable[Record], file: BinaryIO, figures: Mapping[str, Mapping[str, float]] | None = None
) -> None:
    """Write records as Parquet, with named ``figures`` about them.

    Raises:
        ValueError: a number is beyond 64 bits.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = json.dumps(finite_json(figures or {})).encode("utf-8", _ERRORS)
    schema = _schema()
    schema = schema.with_metadata({**schema.metadata, _FIGURES: stored})
    with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in batches(records):
            try:
                arrays = [_array(field.name, field.type, batch) for field in schema]
            except (OverflowError, pa.ArrowInvalid) as error:
                raise ValueError(f"a record can't be stored by column: {error}") from None
            writer.write_table(pa.table(arrays, schema=schema), row_group_size=len(batch))


_ALL = (*_TEXTS, *_NUMBERS, "margin", *_JSON, "score", *_JUDGED)


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {
        **dict.fromkeys((*_TEXTS, *_JSON, *_JUDGED, "links"), pa.string()),
        **dict.fromkeys(_NUMBERS, pa.int64()),
        **dict.fromkeys(("margin", "score", "video_seconds"), pa.float64()),
        **{f"{name}_digest": pa.binary() for name in _DIGESTED},
    }
    return pa.schema(kinds.items(), metadata={b"evalkit": FORMAT})


def _array(name: str, kind: Any, records: Sequence[Record]) -> Any:
    import pyarrow as pa

    stored = _STORED.get(name) or (lambda record: getattr(record, name))
    values = [stored(record) for record in records]
    if not pa.types.is_string(kind):
        return pa.array(values, kind)
    # JSON has lone surrogates, and so may a model's text; Arrow checks only what it is given as text.
    encoded = [None if each is None else each.encode("utf-8", _ERRORS) for each in values]
    return pa.array(encoded, pa.binary()).view(kind)


def _values(column: Any) -> list[Any]:
    """The values of an Arrow column."""
    import pyarrow as pa

    try:
        found: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        parts = [part.view(pa.binary()).to_pylist() for part in column.chunks]
        return [None if each is None else each.decode("utf-8", _ERRORS) for part in parts for each in part]
    return found


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    """The mapping of a record's line."""
    found = {name: row[name] for name in (*_TEXTS, *_NUMBERS, "margin")}
    found |= {name: json.loads(row[name]) for name in _JSON}
    if row["parsed"] is not None:
        found["score"] = {
            "value": row["score"],
            "parsed": json.loads(row["parsed"]),
            "parse_error": row["parse_error"],
            "detail": json.loads(row["detail"]),
            "rule": row["rule"],
        }
    return found


_MISSING = object()


def _decoded(texts: Sequence[str | None]) -> list[Any]:
    """The values of a column of JSON; ``_MISSING`` where there is none."""
    values = json.loads(f"[{','.join(text for text in texts if text is not None)}]")
    found = iter(values)
    return [_MISSING if text is None else next(found) for text in texts]


def _score_row(
    sample_id: str, cluster_id: str, value: float | None, parsed: Any, parse_error: str | None,
    detail: str | None, rule: str | None, flags: str, groups: str, links: str, finish_reason: str,
    visual_tokens: int, video_seconds: float | None, repetition: int,
) -> ScoreRow:  # fmt: skip
    own, labels = _labels(groups, links)
    score = None
    if parsed is not _MISSING:
        score = Score(value, parsed, parse_error, _mapping(detail or "{}"), rule)
    return ScoreRow(sample_id, cluster_id, score, _flags(flags), own, labels, finish_reason == "error",
                   visual_tokens, video_seconds, repetition)  # fmt: skip


@lru_cache(maxsize=4096)
def _labels(groups: str, links: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    own = {name: tuple(each) if isinstance(each, list) else each for name, each in json.loads(groups).items()}
    return own, {**json.loads(links), **own}


@lru_cache(maxsize=4096)
def _mapping(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(text)
    return found


@lru_cache(maxsize=1024)
def _flags(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


@lru_cache(maxsize=4096)
def _medium(medium: MediaInfo) -> dict[str, Any]:
    return asdict(medium)


def _video_seconds(record: Record) -> float | None:
    times = [medium.timestamps[-1] for medium in record.media if medium.timestamps]
    return max(times) if times else None


def _media(record: Record) -> str:
    return json.dumps([_medium(medium) for medium in record.media])


def _judged(read: Callable[[Score], Any]) -> Callable[[Record], Any]:
    return lambda record: None if record.score is None else read(record.score)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", _ERRORS)).digest()[:16]


def _dumped(name: str) -> Callable[[Record], str]:
    return lambda record: json.dumps(getattr(record, name))


# How a column is made of a record; all others are its field of their name.
_STORED: Mapping[str, Callable[[Record], Any]] = {
    **{name: _dumped(name) for name in _JSON},
    "media": _media,
    "links": lambda record: json.dumps(record.meta.get("links", {})),
    "score": _judged(lambda score: score.value),
    "parsed": _judged(lambda score: json.dumps(score.parsed)),
    "parse_error": _judged(lambda score: score.parse_error),
    "detail": _judged(lambda score: json.dumps(dict(score.detail))),
    "rule": _judged(lambda score: score.rule),
    "video_seconds": _video_seconds,
    "reference_digest": lambda record: _digest(json.dumps(record.reference)),
    "media_digest": lambda record: _digest(_media(record)),
    "prompt_digest": lambda record: _digest(record.prompt),
}
