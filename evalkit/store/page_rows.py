"""What a page shows of records, read by column: an answer, and the question that it is to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from evalkit.store.records import Record
from evalkit.store.records_table import StoredRecords

_ANSWER = (
    "raw",
    "final",
    "finish_reason",
    "error",
    "score",
    "parsed",
    "rule",
    "flags",
    "reasoning",
    "box_space",
)
_QUESTION = ("meta", "reference", "groups", "media", "prompt")


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """An answer: its final text or its error, and its score; ``box``: what was read for one."""

    text: str
    value: float | None
    rule: str | None
    flags: tuple[str, ...]
    reasoning: str
    box: Any

    @classmethod
    def of(cls, record: Record) -> AnswerRow:
        """That of a record."""
        text = f"error: {record.error}" if record.failed else record.answer().prediction
        score = record.score
        box = score.parsed if score and record.box_space else None
        value, rule = (score.value, score.rule) if score else (None, None)
        return cls(text, value, rule, record.flags, record.reasoning, box)


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """A question with its reference and labels; of ``media`` the fields of each."""

    question: str
    reference: Any
    groups: Mapping[str, Any]
    media: Sequence[Mapping[str, Any]]
    prompt: str

    @classmethod
    def of(cls, record: Record) -> QuestionRow:
        """That of a record."""
        media = [vars(medium) for medium in record.media]
        question = str(record.meta.get("question", ""))
        return cls(question, record.reference, record.groups, media, record.prompt)


def answer_rows(records: Sequence[Record], places: Sequence[int]) -> list[AnswerRow]:
    """The answers at some places of the records."""
    if not isinstance(records, StoredRecords):
        return [AnswerRow.of(records[place]) for place in places]
    return [_answer(*values) for values in _values(records, places, _ANSWER)]


def question_rows(records: Sequence[Record], places: Sequence[int]) -> list[QuestionRow]:
    """The questions at some places of the records."""
    if not isinstance(records, StoredRecords):
        return [QuestionRow.of(records[place]) for place in places]
    return [_question(*values) for values in _values(records, places, _QUESTION)]


def _values(records: StoredRecords, places: Sequence[int], names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Some columns' values at some places, row by row."""
    table = records.table
    rows = [records.rows[place] for place in places]
    for number, members in groupby(rows, table.group_of):
        yield from table.values(number, list(members), names)


def _answer(
    raw: str, final: str | None, finish_reason: str, error: str | None, value: float | None,
    parsed: str | None, rule: str | None, flags: str, reasoning: str, box_space: str | None,
) -> AnswerRow:  # fmt: skip
    text = f"error: {error}" if finish_reason == "error" else raw if final is None else final
    box = json.loads(parsed) if box_space and parsed is not None else None
    return AnswerRow(text, value, rule, tuple(json.loads(flags)), reasoning, box)


def _question(meta: str, reference: str, groups: str, media: str, prompt: str) -> QuestionRow:
    question = str(json.loads(meta).get("question", ""))
    return QuestionRow(question, json.loads(reference), json.loads(groups), json.loads(media), prompt)
