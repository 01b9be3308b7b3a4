"""Time spans in answers: reading them, and temporal overlap (Charades-STA)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.metrics.base import Answer, Score, Scored, labelled, mean, mean_by_group

Span = tuple[float, float]
THRESHOLDS = (0.3, 0.5, 0.7)
_LONGEST = 1e12

_UNIT = r"(?:\s*(?:seconds?|secs?|s)\b)?"
_CLOCK = r"(?:\d+:)?\d+:\d{1,2}(?:\.\d+)?"
_MINUTES = r"\d+\s*(?:minutes?|mins?|m)\b\s*(?:and\s+)?(?:\d+(?:\.\d+)?\s*(?:seconds?|secs?|s)\b)?"
_TIME = rf"(?:{_MINUTES}|{_CLOCK}{_UNIT}|\d+(?:\.\d+)?{_UNIT})"
_QUOTES = r"[\s\"'`*<>(\[\])]*"
_BETWEEN = r"(?:-|–|—|~|→|\bto\b|\buntil\b|\btill\b|\bthrough\b)"
_GUARD = r"(?<![\w.:])"
_SPAN = re.compile(
    # "starts at 3s and ends at 7.5s", {"start": 3, "end": 7.5}
    rf"\b(?:start|begin)[^\d]{{0,40}}?(?P<a>{_TIME})[^\d]{{0,60}}?\b(?:end|stop|finish)[^\d]{{0,40}}?(?P<b>{_TIME})"
    # "between 3 and 7.5 seconds"
    rf"|\bbetween{_QUOTES}(?P<c>{_TIME}){_QUOTES}and{_QUOTES}(?P<d>{_TIME})"
    # "3 - 7.5", "from 00:03 to 00:07", "<3> to <7.5>"
    rf"|{_GUARD}(?P<e>{_TIME}){_QUOTES}{_BETWEEN}{_QUOTES}(?P<f>{_TIME})"
    # "[3, 7.5]", "<3> <7.5>", "<3><7.5>"
    rf"|[\[(]\s*[\"']?(?P<g>{_TIME})[\"']?\s*,\s*[\"']?(?P<h>{_TIME})[\"']?\s*[\])]"
    rf"|<\s*(?P<i>{_TIME})\s*>\s*,?\s*<\s*(?P<j>{_TIME})\s*>",
    re.IGNORECASE,
)
_BARE = re.compile(rf"\s*({_TIME})(?:\s*,\s*|\s+)({_TIME})\s*\.?\s*", re.IGNORECASE)
# A third time right after the second, or digits right before the first: not a span.
_MORE = re.compile(rf"\s*(?:{_BETWEEN}|[.:/])\s*\d|\d|\w", re.IGNORECASE)
_NUMBERS = re.compile(r"\d+(?:\.\d+)?")


class NoSpan(ValueError):
    """A text in which no time span can be read; the message says why."""


@dataclass(frozen=True)
class SpanIou:
    """Mean temporal IoU (``miou``), and ``r1@0.3``, ``r1@0.5`` and ``r1@0.7``, the shares of answers
    that reach it.

    The reference is ``[start, end]`` in seconds. Overlap is that of TimeChat's ``eval_tvg.py``
    (commit c60b332): ``max(min(ends) - max(starts), 0) / (max(ends) - min(starts))``. An answer
    without a readable span has none, and is a parse failure.

    >>> SpanIou().score(Answer("from 2 to 6 seconds", [4, 8])).value
    0.3333333333333333
    """

    name: str = "miou"
    range: tuple[float, float] = (0.0, 1.0)

    def score(self, answer: Answer) -> Score:
        """Judge one answer.

        Raises:
            ValueError: the reference is no span.
        """
        reference = answer.reference
        if (
            not isinstance(reference, list | tuple)
            or len(reference) != 2
            or not all(map(_is_time, reference))
        ):
            raise ValueError(f"the reference must be [start, end] in seconds, not {reference!r}")
        try:
            span = parse_span(answer.prediction)
        except NoSpan as problem:
            return Score(0.0, parse_error=str(problem))
        return Score(overlap(span, (reference[0], reference[1])), parsed=list(span))

    def check(self, answer: Answer) -> None:
        """See :class:`~evalkit.metrics.base.ReferenceCheck`."""
        start, end = answer.reference
        if not start < end:
            raise ValueError(f"the span {answer.reference!r} ends before it starts, or at once")

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """``miou`` with its breakdown, then the recalls with theirs."""
        reached: dict[str, list[float]] = {}
        for item in items:
            if item.score.value is None:
                continue
            for threshold in THRESHOLDS:
                for label in ("", *labelled(item.groups)):
                    found = reached.setdefault(f"r1@{threshold}{label}", [])
                    found.append(float(item.score.value >= threshold))
        return {**mean_by_group(self.name, items), **{name: mean(found) for name, found in reached.items()}}


def parse_span(text: str) -> Span:
    """The first time span in a text, in seconds, the earlier time first.

    Read are ``a - b``, ``a to b``, ``between a and b``, ``starts at a ... ends at b``, ``[a, b]``,
    ``<a> <b>``, JSON with start and end, and a text of nothing but two times; times are seconds, ``mm:ss``,
    ``hh:mm:ss`` (with decimals) or ``2 minutes 5 seconds``.

    Raises:
        NoSpan: there is none, or what comes first could mean several things.

    >>> parse_span("It starts at 3s and ends at 7.5s."), parse_span("01:05.5 - 00:10")
    ((3.0, 7.5), (10.0, 65.5))
    """
    found = _BARE.fullmatch(text) or _SPAN.search(text)
    if found is None:
        raise NoSpan("no time span in the answer")
    if _MORE.match(text, found.end()):
        raise NoSpan("more than two times in a row are not a span")
    first, second = (seconds(time) for time in found.groups() if time is not None)
    return (min(first, second), max(first, second))


def seconds(time: str) -> float:
    """A time as text, in seconds.

    >>> seconds("1:02:03.5"), seconds("2 min 5 s"), seconds("7.25 seconds")
    (3723.5, 125.0, 7.25)
    """
    numbers = [float(number) for number in _NUMBERS.findall(time)]
    if ":" not in time and re.search(r"\dm|\d\s+m", time, re.IGNORECASE):
        return numbers[0] * 60 + (numbers[1] if len(numbers) > 1 else 0)
    total = 0.0
    for number in numbers:
        total = total * 60 + number
    return total


def overlap(first: Span, second: Span) -> float:
    """Intersection over the hull of both spans; 0 where both are the same instant.

    >>> overlap((0, 13.2), (0, 3.4))
    0.25757575757575757
    """
    hull = max(first[1], second[1]) - min(first[0], second[0])
    shared = max(min(first[1], second[1]) - max(first[0], second[0]), 0)
    return shared / hull if hull > 0 else 0.0


def _is_time(value: object) -> bool:
    """Whether it is a number of seconds that can be reckoned with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LONGEST
