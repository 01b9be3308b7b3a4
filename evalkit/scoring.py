"""From records to scored records: pure, and without model, data set or GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from evalkit.metrics.base import Metric, Score
from evalkit.metrics.flags import is_repeating
from evalkit.store.records import Record

# In the order in which tables and footnotes list them.
FLAGS = ("error", "truncated", "empty", "unparsed", "repeating")


def score_records(records: Iterable[Record], metrics: Mapping[str, Metric]) -> list[Record]:
    """Give every record its score and flags; ``metrics`` maps task names to their metric."""
    return [_score(record, metrics[record.task]) for record in records]


def _score(record: Record, metric: Metric) -> Record:
    if record.failed:
        return replace(record, score=Score(None), flags=("error",))
    score = metric.score(record.answer())
    found = {
        "truncated": record.finish_reason == "length",
        "empty": not record.raw.strip(),
        "unparsed": score.parse_error is not None,
        "repeating": record.finish_reason == "loop" or is_repeating(record.raw),
    }
    return replace(record, score=score, flags=tuple(flag for flag in FLAGS if found.get(flag)))
