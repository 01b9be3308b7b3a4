"""MathVista: options, whole numbers, decimal numbers and lists."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from evalkit.metrics.base import Answer, MeanMetric, NoReading, Score, check_texts
from evalkit.metrics.choice import extract_letter
from evalkit.metrics.numbers import read_list, read_number

# Its figures depend on these, but they are no breakdown.
LINKS = ("precision",)
_ANSWER_TYPES = ("text", "integer", "float", "list")
_QUOTED = ('The answer is "', '".')
_IN_BRACKETS = re.compile(r"\(([a-zA-Z])\)")


@dataclass(frozen=True)
class MathVistaAccuracy(MeanMetric):
    """Accuracy after the official normalisation (``calculate_score.py``, commit 53d5258).

    Groups say what is asked for: ``question_type`` (``multi_choice`` or ``free_form``),
    ``answer_type`` (``text``, ``integer``, ``float`` or ``list``) and ``precision`` (decimals). The
    official protocol has a language model extract the answer from the response; rules stand in for
    it (:func:`extract`), unless ``answer.extracted`` says that the text is an extraction already. Of an
    extraction, what is not among the choices becomes the most similar one by edit distance, as officially; a
    response in which no choice can be read is not compared with them.

    >>> groups = {"question_type": "free_form", "answer_type": "float", "precision": 1}
    >>> MathVistaAccuracy().score(Answer("So x = 1.249 m", "1.2", groups=groups)).value
    1.0
    """

    name: str = "acc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer; the reference is the right choice's text (or letter), or a number's text.

        Raises:
            ValueError: a group that is needed is missing.
        """
        kind = answer.groups.get("question_type")
        if kind not in ("multi_choice", "free_form"):
            raise ValueError(f"the group `question_type` must be multi_choice or free_form, not {kind!r}")
        if kind == "multi_choice" and not answer.options:
            raise ValueError("a multi_choice question needs `options`")
        try:
            text = answer.prediction if answer.extracted else extract(answer)
        except NoReading as problem:
            return Score(0.0, parse_error=str(problem))
        if kind == "multi_choice":
            said: str | None = _choice(text, answer.options)
            right = answer.options.get(str(answer.reference), str(answer.reference))
        else:
            said, right = _typed(text, answer.groups), str(answer.reference)
        if said is None:
            return Score(0.0, parse_error=f"no {answer.groups.get('answer_type')} in the answer")
        return Score(float(said == right), parsed=said)

    def check(self, answer: Answer) -> None:
        """See :class:`~evalkit.metrics.base.ReferenceCheck`."""
        check_texts(answer.reference)
        kind, precision = answer.groups.get("answer_type"), answer.groups.get("precision")
        if kind not in _ANSWER_TYPES:
            known = ", ".join(_ANSWER_TYPES)
            raise ValueError(f"the group `answer_type` must be one of {known}, not {kind!r}")
        if answer.groups.get("question_type") == "multi_choice":
            if answer.reference not in (*answer.options, *answer.options.values()):
                raise ValueError(f"the answer {answer.reference!r} is none of the choices")
        elif kind == "float" and not isinstance(precision, int | float):
            raise ValueError(f"a float needs a `precision`, not {precision!r}")
        elif _typed(str(answer.reference), answer.groups) is None:
            raise ValueError(f"the answer {answer.reference!r} is no {kind}")


def extract(answer: Answer) -> str:
    """The part of a response that is its answer, by rules: what the official script takes as it is (a choice,
    a number), else the option that :func:`.choice.extract_letter` reads, or the number or list that
    :mod:`.numbers` reads.

    Raises:
        NoReading: nothing can be read, or it could mean several things.
    """
    text, options = answer.prediction.strip(), answer.options
    kind = answer.groups.get("answer_type")
    if answer.groups.get("question_type") == "multi_choice":
        return _option(text, options)
    if text and kind in ("integer", "float") and _typed(text, answer.groups) is not None:
        return text
    quoted = _quoted(text)
    stated = text if quoted is None else quoted
    if kind == "list":
        return read_list(stated)
    return read_number(stated) if kind in ("integer", "float") else stated


def _option(text: str, options: Mapping[str, str]) -> str:
    """An option's letter or text, as it stands or as the answer's reader finds it."""
    for part in (text, _quoted(text) or ""):
        if part in options.values():
            return part
    letter = extract_letter(text, options)
    if letter is None or letter not in options:
        raise NoReading("no option was chosen")
    return letter


def _quoted(text: str) -> str | None:
    """What the first line with ``The answer is "..."."`` has between the quotes, the longest."""
    opens, closes = _QUOTED
    for line in text.split("\n"):
        start = line.find(opens)
        end = line.rfind(closes, start + len(opens)) if start >= 0 else -1
        if end >= 0:
            return line[start + len(opens) : end]
    return None


def _choice(text: str, options: Mapping[str, str]) -> str:
    from rapidfuzz.distance import Levenshtein

    text = text.strip()
    bracketed = _IN_BRACKETS.search(text)
    letter = bracketed[1].upper() if bracketed else text
    if letter in options:
        return options[letter]
    return min(options.values(), key=lambda option: Levenshtein.distance(letter, option))


def _typed(text: str, groups: Mapping[str, object]) -> str | None:
    """The text in the form of the reference, or None where it can't be read as one."""
    kind, precision = groups.get("answer_type"), groups.get("precision")
    try:
        if kind == "integer":
            return str(int(float(text)))
        if kind == "float":
            return str(round(float(text), int(float(str(precision)))))
    except (ValueError, OverflowError):
        return None
    return text
