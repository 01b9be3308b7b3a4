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
from evalkit.store.page_rows import AnswerRow, QuestionRow, answer_rows, question_rows
from evalkit.store.records import Record
from evalkit.store.records_table import ScoreRow

Places = Sequence[int | None]
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
        samples = {_row_name(row): row.sample_id for side in light for row in side}
        order = list(samples)
        rows = [[places.get(name) for places in known] for name in order]
        pieces: list[str] = []
        same: list[list[int]] = []
        for begin in range(0, len(order), _SPAN):
            span = rows[begin : begin + _SPAN]
            answers = list(zip(*(_answers(side, span, arm) for arm, side in enumerate(sides)), strict=True))
            same += map(_same, answers)
            names = order[begin : begin + _SPAN]
            ids = [samples[name] for name in names]
            questions = _questions(sides, span)
            made = [self._sample(task, *each) for each in zip(names, ids, questions, answers, strict=True)]
            pieces += [pack_json(_with_prompts(made[at : at + PIECE])) for at in range(0, len(made), PIECE)]
        index = {**_index(rows, light), "same": same}
        self._tasks.append({"name": task, "size": len(order), "index": pack_json(index), "pieces": pieces})

    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        return {"tasks": self._tasks, "piece": PIECE, "thumbs": list(self._thumbs)}

    def _sample(
        self, task: str, name: str, sample_id: str, asked: QuestionRow, answers: Sequence[AnswerRow | None]
    ) -> dict[str, Any]:
        picture = self._thumbnails.get((task, sample_id))
        return {
            "id": name,
            "question": _short(asked.question),
            "reference": _short(_text(asked.reference)),
            "labels": sorted(_labels(asked.groups)),
            "media": ", ".join(map(_medium, asked.media)),
            "size": list(asked.media[0]["size"]) if asked.media else None,
            "box": _box(asked.reference),
            "prompt": _short(asked.prompt),
            "thumb": None if picture is None else self._thumbs.setdefault(picture, len(self._thumbs)),
            "answers": [_answer(each) for each in answers],
        }


def _row_name(row: ScoreRow) -> str:
    """What a page calls an answer's question: of several answers to one with their number."""
    return f"{row.sample_id} (answer {row.repetition + 1})" if row.repetition else row.sample_id


def _answers(side: Sequence[Record], span: Sequence[Places], arm: int) -> list[AnswerRow | None]:
    """An arm's answers to some samples; None where it wasn't run."""
    places = [row[arm] for row in span]
    found = iter(answer_rows(side, [place for place in places if place is not None]))
    return [None if place is None else next(found) for place in places]


def _questions(sides: Sequence[Sequence[Record]], span: Sequence[Places]) -> list[QuestionRow]:
    """The samples' questions, each as the first arm that was run on it was asked."""
    firsts = [next(arm for arm, place in enumerate(row) if place is not None) for row in span]
    own = [
        [row[arm] for row, first in zip(span, firsts, strict=True) if first == arm]
        for arm in range(len(sides))
    ]
    found = [
        iter(question_rows(side, [place for place in places if place is not None]))
        for side, places in zip(sides, own, strict=True)
    ]
    return [next(found[arm]) for arm in firsts]


def pack_json(value: Any) -> str:
    """JSON, deflated, in base64: how the page's script reads it."""
    options: dict[str, Any] = {"ensure_ascii": True, "allow_nan": False, "separators": (",", ":")}
    try:
        text = json.dumps(value, **options)
    except ValueError:  # NaN, or an infinity
        text = json.dumps(finite_json(value), **options)
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


def _same(answers: Sequence[AnswerRow | None]) -> list[int]:
    """A number for each arm, equal for equal answers; -1: not run."""
    texts: dict[str | None, int] = {None: -1}
    return [texts.setdefault(None if each is None else each.text, len(texts)) for each in answers]


def _with_prompts(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Samples whose prompts are numbers into a list of the different prompts."""
    prompts: dict[str, int] = {}
    numbered = [{**each, "prompt": prompts.setdefault(each["prompt"], len(prompts))} for each in samples]
    return {"samples": numbered, "prompts": list(prompts)}


def _answer(row: AnswerRow | None) -> list[Any] | None:
    if row is None:
        return None
    return [_short(row.text), row.value, " ".join(row.flags), _box(row.box), _short(row.reasoning), row.rule]


def _labels(groups: Mapping[str, Any]) -> set[str]:
    return {label for labels in groups.values() for label in group_labels(labels)}


def _box(value: Any) -> list[float] | None:
    is_box = isinstance(value, list | tuple) and len(value) == 4
    return list(value) if is_box and all(map(_is_finite, value)) else None


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _text(reference: Any) -> str:
    return reference if isinstance(reference, str) else json.dumps(reference, ensure_ascii=False)


def _medium(medium: Mapping[str, Any]) -> str:
    frames = f", {len(medium['frames'])} frames" if medium["frames"] else ""
    width, height = medium["size"]
    return f"{medium['kind']} {width}x{height}{frames}, {medium['tokens']} tokens"


def _short(text: str) -> str:
    return (
        text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text) - _LONGEST} more characters)"
    )
