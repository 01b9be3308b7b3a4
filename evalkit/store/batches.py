"""Records in batches of a few thousand, of fewer where their texts are long: what is written at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from evalkit.store.records import Record

_RECORDS = 2048
_CHARACTERS = 2**24


def batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Batches of records, in their order."""
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += 2 * len(record.raw) + len(record.prompt) + 8 * len(record.token_ids)
        if len(batch) == _RECORDS or size >= _CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
