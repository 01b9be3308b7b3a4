"""Records as a pandas frame: one row a record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from evalkit.store.records import Record

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "arm",
    "model",
    "rope",
    "task",
    "sample_id",
    "index",
    "cluster_id",
    "score",
    "parsed",
    "parse_error",
    "raw",
    "final",
    "reasoning",
    "reference",
    "finish_reason",
    "error",
    "flags",
    "groups",
    "meta",
    "prompt",
    "prompt_tokens",
    "new_tokens",
    "visual_tokens",
    "margin",
    "key",
)


def records_frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row a record, in their order. A sample without a score has NaN as its ``score``; what is no text or
    number (references, ``flags``, ``groups``, ``meta``) stays the object that it is.
    """
    import pandas as pd

    rows = [_row(record) for record in records]
    frame = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in COLUMNS})
    whole = dict.fromkeys(("index", "prompt_tokens", "new_tokens", "visual_tokens"), "int64")
    return frame.astype({**whole, "score": "float64", "margin": "float64"})


def _row(record: Record) -> dict[str, Any]:
    score = record.score
    return {
        **{name: getattr(record, name) for name in COLUMNS if hasattr(record, name)},
        "score": None if score is None else score.value,
        "parsed": None if score is None else score.parsed,
        "parse_error": None if score is None else score.parse_error,
        "new_tokens": len(record.token_ids),
    }
