"""The samples of a report page: an index to filter by, and their texts in compressed pieces."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.core.strict_json import finite_json
from evalkit.metrics.base import group_labels
from evalkit.store.records import Record
from evalkit.store.records_table import ScoreRow

Thumbnails = Mapping[tuple[str, str], str]
PIECE = 200
"""Samples in a compressed piece; the page's script decodes the pieces that it shows."""

_SPAN = 5 * PIECE  # samples whose records are read together, arm after arm: an arm's lie side by side
_LONGEST = 4000


class PageSamples:
    """Collects the samples of a page, task by task; a picture of several samples is kept once."""

    def __init__(self, thumbnails: Thumbnails) -> None:
        self._thumbnails = thumbnails
        self._thumbs: dict[str, int] = {}
        self._tasks: list[dict[str, Any]] = []

    def add(self, task: str, sides: Sequence[Sequence[Record]], light: Sequence[Sequence[ScoreRow]]) -> None:
        """Add a task's samples: the records of each arm, and their score rows."""
        known = [{_row_name(row): place for place, row in enumerate(side)} for side in light]
        order = list(dict.fromkeys(sample for places in known for sample in places))
        rows = [[places.get(sample) for places in known] for sample in order]
        pieces: list[str] = []
        same: list[list[int]] = []
        for begin in range(0, len(order), _SPAN):
            span = rows[begin : begin + _SPAN]
            read = [_read(side, [row[arm] for row in span]) for arm, side in enumerate(sides)]
            found = list(zip(*read, strict=True))
            same += map(_same, found)
            ids = order[begin : begin + _SPAN]
            made = [self._sample(task, sample, each) for sample, each in zip(ids, found, strict=True)]
            pieces += [pack_json(_with_prompts(made[at : at + PIECE])) for at in range(0, len(made), PIECE)]
        index = {**_index(rows, light), "same": same}
        self._tasks.append({"name": task, "size": len(order), "index": pack_json(index), "pieces": pieces})

    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        return {"tasks": self._tasks, "piece": PIECE, "thumbs": list(self._thumbs)}

    def _sample(self, task: str, sample_id: str, records: Sequence[Record | None]) -> dict[str, Any]:
        first = next(record for record in records if record is not None)
        picture = self._thumbnails.get((task, first.sample_id))
        return {
            "id": sample_id,
            "question": _short(str(first.meta.get("question", ""))),
            "reference": _short(_text(first.reference)),
            "labels": sorted(_labels(first.groups)),
            "media": ", ".join(_medium(medium) for medium in first.media),
            "size": list(first.media[0].size) if first.media else None,
            "box": _box(first.reference),
            "prompt": _short(first.prompt),
            "thumb": None if picture is None else self._thumbs.setdefault(picture, len(self._thumbs)),
            "answers": [_answer(record) for record in records],
        }


def _row_name(row: ScoreRow) -> str:
    """What a page calls an answer's question: of several answers to one with their number."""
    return f"{row.sample_id} (answer {row.repetition + 1})" if row.repetition else row.sample_id


def _read(side: Sequence[Record], places: Sequence[int | None]) -> list[Record | None]:
    return [None if place is None else side[place] for place in places]


def pack_json(value: Any) -> str:
    """JSON, deflated, in base64: how the page's script reads it."""
    text = json.dumps(finite_json(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 6)).decode()


def _index(rows: Sequence[Sequence[int | None]], light: Sequence[Sequence[ScoreRow]]) -> dict[str, Any]:
    """By sample: its labels, and each arm's score and flags, as numbers of ``names`` and ``flags``; -1: not
    run.
    """
    names: dict[str, int] = {}
    flags: dict[str, int] = {}
    labels, values, flagged = [], [], []
    for places in rows:
        found = [None if place is None else side[place] for side, place in zip(light, places, strict=True)]
        first = next(each for each in found if each is not None)
        labels.append([names.setdefault(name, len(names)) for name in sorted(_labels(first.groups))])
        values.append([each.score.value if each and each.score else None for each in found])
        flagged.append(
            [-1 if each is None else flags.setdefault(" ".join(each.flags), len(flags)) for each in found]
        )
    named = {"names": list(names), "flags": list(flags)}
    return {**named, "labels": labels, "values": values, "flagged": flagged}


def _same(records: Sequence[Record | None]) -> list[int]:
    """A number for each arm, equal for equal answers; -1: not run."""
    texts: dict[str | None, int] = {None: -1}
    answers = [None if record is None else _answer_text(record) for record in records]
    return [texts.setdefault(text, len(texts)) for text in answers]


def _with_prompts(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Samples whose prompts are numbers into a list of the different prompts."""
    prompts: dict[str, int] = {}
    numbered = [{**each, "prompt": prompts.setdefault(each["prompt"], len(prompts))} for each in samples]
    return {"samples": numbered, "prompts": list(prompts)}


def _answer_text(record: Record) -> str:
    return record.answer().prediction if not record.failed else f"error: {record.error}"


def _answer(record: Record | None) -> list[Any] | None:
    if record is None:
        return None
    score = record.score
    value = score.value if score else None
    box = _box(score.parsed) if score and record.box_space else None
    rule = score.rule if score else None
    text = _short(_answer_text(record))
    return [text, value, " ".join(record.flags), box, _short(record.reasoning), rule]


def _labels(groups: Mapping[str, Any]) -> set[str]:
    return {label for labels in groups.values() for label in group_labels(labels)}


def _box(value: Any) -> list[float] | None:
    is_box = isinstance(value, list | tuple) and len(value) == 4
    return list(value) if is_box and all(map(_is_finite, value)) else None


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _text(reference: Any) -> str:
    return reference if isinstance(reference, str) else json.dumps(reference, ensure_ascii=False)


def _medium(medium: Any) -> str:
    frames = f", {len(medium.frames)} frames" if medium.frames else ""
    return f"{medium.kind} {medium.size[0]}x{medium.size[1]}{frames}, {medium.tokens} tokens"


def _short(text: str) -> str:
    return (
        text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text) - _LONGEST} more characters)"
    )
