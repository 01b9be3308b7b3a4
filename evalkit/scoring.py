"""From records to scored records: pure, and without model, data set or GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from evalkit.metrics.base import Metric, Score, finite_score
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
    try:
        score = finite_score(metric.score(record.answer()))
    except Exception as error:  # noqa: BLE001 - a journal may hold any reference, and a metric be a user's own
        why = f"it can't be scored: {' '.join(str(error).split()) or type(error).__name__}"
        return replace(record, finish_reason="error", error=why, score=Score(None), flags=("error",))
    found = {
        "truncated": record.finish_reason == "length",
        "empty": not record.raw.strip(),
        "unparsed": score.parse_error is not None,
        "repeating": record.finish_reason == "loop" or is_repeating(record.raw),
    }
    return replace(record, score=score, flags=tuple(flag for flag in FLAGS if found.get(flag)))
