"""Scored records by column: ``records.parquet``, a view beside ``records.jsonl``.

What is no text or number (references, breakdowns, media) is JSON in its column, so that a row is read back
as the very record that its line is. Reports read the columns that they need; whole records are decoded a few
thousand at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, overload

from evalkit.core.types import MediaInfo
from evalkit.metrics.base import Score
from evalkit.store.records import Record

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = b"2"  # of the columns; raise it when their meaning changes
_GROUP = 2048  # rows that are decoded together
_ERRORS = "surrogatepass"

_TEXTS = (
    "arm", "model", "rope", "task", "sample_id", "key", "cluster_id", "prompt", "raw", "finish_reason",
    "error", "box_space", "reasoning", "final",
)  # fmt: skip
_NUMBERS = ("index", "prompt_tokens", "visual_tokens")
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
        )


class RecordsTable:
    """The columns of a run's records, read from a Parquet file when they are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(file, page_checksum_verification=True)
        self._group: tuple[int, dict[str, list[Any]]] | None = None

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
                          "finish_reason", "visual_tokens", "video_seconds")  # fmt: skip

    @cached_property
    def digests(self) -> pa.Table:
        """The columns that systems are compared by."""
        return self.arrow(*(f"{name}_digest" for name in _DIGESTED))

    def record(self, row: int) -> Record:
        """The whole record of a row; those of one row group are decoded from one read."""
        number, place = divmod(row, _GROUP)
        if self._group is None or self._group[0] != number:
            read = self._file.read_row_group(number, list(_ALL))
            self._group = (number, {name: _values(read.column(name)) for name in _ALL})
        return Record.from_json(_fields({name: values[place] for name, values in self._group[1].items()}))


class StoredRecords(Sequence[Record]):
    """Some rows of a table as records, which are decoded when they are looked at."""

    def __init__(self, table: RecordsTable, rows: Sequence[int]) -> None:
        self._table = table
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Record: ...

    @overload
    def __getitem__(self, place: slice) -> StoredRecords: ...

    def __getitem__(self, place: int | slice) -> Record | StoredRecords:
        if isinstance(place, slice):
            return StoredRecords(self._table, self._rows[place])
        return self._table.record(self._rows[place])

    def __iter__(self) -> Iterator[Record]:
        return (self._table.record(row) for row in self._rows)

    def only(self, kept: Iterable[bool]) -> StoredRecords:
        """The rows of which ``kept`` says so."""
        return StoredRecords(self._table, [row for row, keep in zip(self._rows, kept, strict=True) if keep])

    def ids(self) -> list[str]:
        """The samples' ids."""
        return _values(self._of(self._table.score_columns.select(["sample_id"])).column(0))

    def digests(self, name: str) -> list[bytes]:
        """Digests of a field that systems are compared by."""
        return _values(self._of(self._table.digests.select([f"{name}_digest"])).column(0))

    def score_rows(self) -> list[ScoreRow]:
        """The part of each record that scores add up from."""
        found = self._of(self._table.score_columns)
        columns = [_values(found.column(name)) for name in found.column_names]
        return [_score_row(*values) for values in zip(*columns, strict=True)]

    def _of(self, table: pa.Table) -> pa.Table:
        rows = self._rows
        begin = rows[0] if rows else 0
        return (
            table.slice(begin, len(rows))
            if list(rows) == list(range(begin, begin + len(rows)))
            else table.take(list(rows))
        )


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


def write_columns(records: Iterable[Record], file: BinaryIO) -> None:
    """Write records as Parquet.

    Raises:
        ValueError: a number is beyond 64 bits.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
        remaining = iter(records)
        while batch := list(islice(remaining, _GROUP)):
            try:
                arrays = [_array(field.name, field.type, batch) for field in schema]
            except (OverflowError, pa.ArrowInvalid) as error:
                raise ValueError(f"a record can't be stored by column: {error}") from None
            writer.write_table(pa.table(arrays, schema=schema), row_group_size=_GROUP)


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


def _score_row(
    sample_id: str, cluster_id: str, value: float | None, parsed: str | None, parse_error: str | None,
    detail: str | None, rule: str | None, flags: str, groups: str, links: str, finish_reason: str,
    visual_tokens: int, video_seconds: float | None,
) -> ScoreRow:  # fmt: skip
    own, labels = _labels(groups, links)
    score = None
    if parsed is not None:
        score = Score(value, json.loads(parsed), parse_error, _mapping(detail or "{}"), rule)
    return ScoreRow(sample_id, cluster_id, score, _flags(flags), own, labels, finish_reason == "error",
                   visual_tokens, video_seconds)  # fmt: skip


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
