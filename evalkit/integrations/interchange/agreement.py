"""Whether another program's answer is to a given sample: questions, options and references are compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from evalkit.core.types import Sample
from evalkit.integrations.interchange.answers import ForeignAnswer, NotGiven, listed

_TELLING = 12
"""Characters that a question needs to be recognised within a longer prompt."""


class Agreement(Enum):
    """What a sample and an answer have in common, or in what they differ; the strongest agreement first."""

    BOTH = "the same question and reference"
    QUESTION = "the same question"
    REFERENCE = "the same reference"
    UNKNOWN = "nothing to compare"
    OTHER_REFERENCE = "its target is another than the data's"
    OTHER_OPTIONS = "its options are others than the data's, or in another order"
    OTHER_QUESTION = "its question is another than the data's"

    @property
    def other(self) -> bool:
        """Whether they differ, so that the answer is to another sample."""
        return self in (Agreement.OTHER_REFERENCE, Agreement.OTHER_OPTIONS, Agreement.OTHER_QUESTION)


def agreement(sample: Sample, answer: ForeignAnswer) -> Agreement:
    """Compare a sample with an answer."""
    options = sample.meta.get("options") or {}
    if options and answer.options and _options(options) != _options(answer.options):
        return Agreement.OTHER_OPTIONS
    reference = same_reference(sample.reference, answer.reference, options)
    if reference is False:
        return Agreement.OTHER_REFERENCE
    question = _same_question(str(sample.meta.get("question") or ""), answer)
    if question is False:
        return Agreement.OTHER_QUESTION
    if question:
        return Agreement.BOTH if reference else Agreement.QUESTION
    return Agreement.REFERENCE if reference else Agreement.UNKNOWN


def same_reference(ours: Any, theirs: Any, options: Mapping[str, str]) -> bool | None:
    """Whether two references agree; None where they can't be compared.

    >>> same_reference(["12 May", "May 12"], "may 12", {}), same_reference("B", "C", {"B": "red"})
    (True, False)
    >>> same_reference("B", "red", {"B": "red"}), same_reference("B", "1", {"B": "red"})
    (True, None)
    """
    ours = listed(ours)
    if ours is None or isinstance(theirs, NotGiven) or theirs in (None, "", []):
        return None
    boxes = _numbers(ours), _numbers(theirs)
    if all(boxes):
        alike = len(boxes[0]) == len(boxes[1])
        # The other program may write boxes in other units.
        return True if alike and all(map(_near, boxes[0], boxes[1])) else None
    left, right = set(_accepted(ours)), set(_accepted(theirs))
    if not left or not right:
        return None
    letters = {_plain(letter): _plain(text) for letter, text in options.items()}
    if not left.isdisjoint(right | {letters.get(each, each) for each in right}) or not right.isdisjoint(
        {letters.get(each, each) for each in left}
    ):
        return True
    if any(_near(_float(one), _float(two)) for one in left for two in right):
        return True
    # A letter may stand for a text or a number that only the other program knows.
    return None if all(map(_is_letter, left)) != all(map(_is_letter, right)) else False


def _same_question(ours: str, answer: ForeignAnswer) -> bool | None:
    """Whether the questions are the same; None where one is not known, or the prompt need not quote it."""
    ours = _plain(ours)
    if not ours:
        return None
    theirs = _plain(answer.question)
    if theirs:
        return ours == theirs or (
            min(len(ours), len(theirs)) >= _TELLING and (ours in theirs or theirs in ours)
        )
    if len(ours) >= _TELLING and ours in _plain(answer.prompt):
        return True
    lines = (_plain(line).removeprefix("question:").strip() for line in answer.prompt.splitlines())
    return True if ours in lines else None


def _options(options: Mapping[str, str]) -> list[str]:
    texts = [_plain(text) for text in options.values()]
    return [text for text in texts if text not in ("", "nan")]


def _accepted(reference: Any) -> Iterator[str]:
    """The texts and numbers that a reference accepts, as plain text."""
    several: Iterable[Any] = reference if isinstance(reference, list | tuple) else [reference]
    for each in several:
        if isinstance(each, str | int | float) and str(each).strip():
            yield _plain(str(each))


def _plain(text: str) -> str:
    found = " ".join(text.split()).casefold()
    inner = found.strip("().")
    return inner if len(inner) == 1 else found


def _numbers(value: Any) -> list[float]:
    """The numbers of a box or span; empty for anything else."""
    several = value if isinstance(value, list | tuple) else []
    numeric = [each for each in several if isinstance(each, int | float) and not isinstance(each, bool)]
    return [float(each) for each in numeric] if len(numeric) == len(several) and len(several) > 1 else []


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _near(one: float, two: float) -> bool:
    return math.isclose(one, two, rel_tol=1e-3, abs_tol=1e-3)


def _is_letter(text: str) -> bool:
    return len(text) == 1 and text.isalpha()
