"""Time spans in answers: reading them, and temporal overlap (Charades-STA)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from evalkit.metrics.base import (
    Answer,
    MeanMetric,
    NoReading,
    Score,
    Scored,
    breakdown_means,
    mean_with_breakdown,
)
from evalkit.metrics.times import Time, times_in
from evalkit.metrics.white_space import collapse_white_space

Span = tuple[float, float]
THRESHOLDS = (0.3, 0.5, 0.7)
_LONGEST = 1e12

_MARKS = r"[\s\"'`*_<>()\[\]]"
_FILLER = (
    rf"(?:{_MARKS}|\b(?:the|at|about|around|approximately|roughly|approx\.?|time|timestamp|seconds?|mark|point|into"
    r"|in|of|video|start|end|t|a)\b|第|约|大约|开始|[=~≈，,:]|处|時|的)*"
)
_TO = re.compile(
    rf"{_FILLER}(?:-{{1,3}}>?|[–—―‒−~～〜ー→⇒]|=>|\.\.\.?|…|\b(?:to|until|till|through|thru|up to)\b"
    rf"|直到|到|至){_FILLER}",
    re.IGNORECASE,
)
_AND = re.compile(rf"{_FILLER}(?:\band\b|&|\bto\b|[-–—]|和|与|到|至){_FILLER}", re.IGNORECASE)
_BETWEEN = re.compile(rf"(?:\bbetween\b|介于|在){_FILLER}\Z", re.IGNORECASE)
_FROM = re.compile(
    r"(?:\bfrom\b|\b(?:happens?|occurs?|takes? place|during|span|window|interval|segment|timestamps?"
    rf"|answer)\b[^\d.\n]{{0,20}}|从){_FILLER}\Z",
    re.IGNORECASE,
)
_OF_WHOLE = re.compile(
    r"\s*(?:of|into|through) the (?:whole |entire |full )?(?:video|clip|duration|length)", re.IGNORECASE
)
_START = re.compile(r"(?:\b|_)(?:start|begin|began|onset)\w*|开始|起始", re.IGNORECASE)
_STOP = re.compile(r"(?:\b|_)(?:end|stop|finish|offset|until)\w*|结束|终止", re.IGNORECASE)
_LASTS = re.compile(r"\b(?:lasts?|lasting|continues?|duration)\b|持续", re.IGNORECASE)
_VIDEO = re.compile(r"\bvideo\b|视频", re.IGNORECASE)
_NEAR, _FAR = 40, 60  # characters between a label and its time, and between two labelled times
_GAP = 200  # characters before a time that say what it is, and between two times of one span
_COMMA = re.compile(r"[\"']?\s*[,;|]\s*[\"']?|>\s*,?\s*<")
_OPEN, _CLOSE = re.compile(r"[\[({<]\s*[\"']?\Z"), re.compile(r"[\"']?\s*[\])}>]")
# The caption of an event may have numbers of its own.
_QUOTED = re.compile(r"(?<![\w])'[^'\n]*'(?!\w)|\"[^\"\n]*\"|“[^”\n]{0,300}”|‘[^’\n]{0,300}’|`[^`\n]*`")
_LABEL = re.compile(
    r"\b(?:the|final|answer|time ?(?:span|stamps?|interval|range)s?|segment|interval|span|is|are)\b",
    re.IGNORECASE,
)
_TIME_WORDS = re.compile(
    r"\b(?:hours?|minutes?|mins?|seconds?|secs?|to|and|from|until|start|end)\b", re.IGNORECASE
)
_ANSWER = re.compile(r"\b(?:final\s+)?answer\b|答案|\\boxed\s*\{", re.IGNORECASE)
_REFUSES = re.compile(
    r"(?:\b(?:not|never|cannot|can't|unable|no)\b|n't\b)[^.\n]{0,30}?\b(?:occur|happen|appear|visible|shown"
    r"|present|find|found|determine|identify|locate|tell|take place|see|provide|depict)\w*"
    r"|无法|没有出现|抱歉",
    re.IGNORECASE,
)
_HOWEVER = re.compile(r"\b(?:but|however|if i had to)\b|但", re.IGNORECASE)


@dataclass(frozen=True)
class SpanIou(MeanMetric):
    """Mean temporal IoU (``miou``), and ``r1@0.3``, ``r1@0.5`` and ``r1@0.7``, the shares of answers
    that reach it.

    The reference is ``[start, end]`` in seconds. Overlap is that of TimeChat's ``eval_tvg.py``
    (commit c60b332): ``max(min(ends) - max(starts), 0) / (max(ends) - min(starts))``. An answer
    without a readable span has none, and is a parse failure.

    >>> SpanIou().score(Answer("from 2 to 6 seconds", [4, 8])).value
    0.3333333333333333
    """

    name: str = "miou"

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
        except NoReading as problem:
            return Score(0.0, parse_error=str(problem))
        return Score(overlap(span, (reference[0], reference[1])), parsed=list(span))

    def check(self, answer: Answer) -> None:
        """See :class:`~evalkit.metrics.base.ReferenceCheck`."""
        start, end = answer.reference
        if not start < end:
            raise ValueError(f"the span {answer.reference!r} ends before it starts, or at once")

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """``miou`` with its breakdown, then the recalls with theirs."""
        figures = mean_with_breakdown(self.name, items)
        for threshold in THRESHOLDS:
            figures |= breakdown_means(f"r1@{threshold}", items, partial(_reaches, threshold))
        return figures


def _reaches(threshold: float, score: Score) -> float | None:
    return None if score.value is None else float(score.value >= threshold)


def parse_span(text: str) -> Span:
    """The first time span in a text, in seconds, the earlier time first; what follows "answer" goes before
    what comes earlier, and a span in words or units before a mere ``2 to 3``.

    Read are ``a - b``, ``a to b``, ``between a and b``, ``starts at a ... ends at b`` (or ``lasts b``),
    ``[a, b]``, ``<a> <b>``, JSON with start and end, and a text of nothing but two times, as
    :mod:`.times` reads them. Numbers without a unit are seconds, or what the other time's unit says; frames,
    percentages and counted things are no times.

    Raises:
        NoReading: there is none, or what comes first could mean several things.

    >>> parse_span("It starts at 3s and ends at 7.5s."), parse_span("01:05.5 - 00:10")
    ((3.0, 7.5), (10.0, 65.5))
    >>> parse_span("from 1 to 2 minutes")
    (60.0, 120.0)
    """
    text = _without_captions(_that_answers(collapse_white_space(text)))
    times = list(times_in(text))
    found = [pair for place in range(len(times) - 1) if (pair := _pair(text, times, place))]
    if not found:
        raise NoReading("no time span in the answer")
    answers = [each.end() for each in _ANSWER.finditer(text)]
    after = [pair for pair in found if answers and pair.start >= answers[-1]]
    chosen = next((pair for pair in after or found if pair.sure), (after or found)[0])
    if chosen.problem:
        raise NoReading(chosen.problem)
    return (min(chosen.span), max(chosen.span))


@dataclass(frozen=True)
class _Pair:
    """Two times in a row that may be a span: ``sure`` says that they can't be something else, ``problem``
    why they are none.
    """

    start: int
    span: Span
    sure: bool
    problem: str | None = None


def _that_answers(text: str) -> str:
    refusal = _REFUSES.search(text)
    if refusal is None or _ANSWER.search(text, refusal.end()):
        return text
    however = _HOWEVER.search(text, refusal.end())
    if however is None:
        raise NoReading("the answer is a refusal")
    return text[however.end() :]


def _without_captions(text: str) -> str:
    """A text without its quotations, but those that are times themselves."""

    def kept(found: re.Match[str]) -> str:
        words = re.findall(r"[^\W\d_]{2,}", _TIME_WORDS.sub(" ", found[0]))
        return " " if len(words) > 1 and re.search(r"\d", found[0]) else found[0]

    return _QUOTED.sub(kept, text)


def _pair(text: str, times: Sequence[Time], place: int) -> _Pair | None:
    first, second = times[place : place + 2]
    if "other" in (first.kind, second.kind):
        return None
    begin = max(times[place - 1].end if place else 0, first.start - _GAP)
    before, between = text[begin : first.start], _between(text, first, second)
    labelled = _labelled(before, between, first, second)
    joined = _TO.fullmatch(between) is not None
    sure = (
        (_BETWEEN.search(before) is not None and _AND.fullmatch(between) is not None)
        or (joined and (_FROM.search(before) is not None or {first.kind, second.kind} != {"plain"}))
        or (_bracketed(before, between) and _CLOSE.match(text, second.end) is not None)
        or (len(times) == 2 and _alone(text, first, second))
    )
    if labelled:
        return _Pair(first.start, labelled, True)
    if not sure and not (joined and not second.counted):
        return None
    problem = _chained(text, times, place) or _mixed(first, second)
    return _Pair(first.start, _in_seconds(first, second), sure, problem)


def _labelled(before: str, between: str, first: Time, second: Time) -> Span | None:
    """A start and an end that are called so, in either order, or a start and how long it lasts."""
    near, far = before[-_NEAR:], between if len(between) <= _FAR else ""
    if _mixed(first, second) or not far:
        return None
    starts, stops = _last(_START, near), _last(_STOP, near)
    if starts > stops and _STOP.search(far):
        return _in_seconds(first, second)
    if stops > starts and _START.search(far):
        return _in_seconds(second, first)
    if starts > stops and _LASTS.search(far) and not _VIDEO.search(far):
        return (first.seconds, first.seconds + second.seconds)
    return None


def _last(pattern: re.Pattern[str], text: str) -> int:
    return max((found.start() for found in pattern.finditer(text)), default=-1)


def _between(text: str, first: Time, second: Time) -> str:
    """What stands between two times in a row; nothing, if that is more than could join them."""
    return text[first.end : second.start] if second.start - first.end <= _GAP else ""


def _bracketed(before: str, between: str) -> bool:
    return _OPEN.search(before) is not None and _COMMA.fullmatch(between) is not None


def _alone(text: str, first: Time, second: Time) -> bool:
    """Whether a text is nothing but two times, and what they are called."""
    label = _LABEL.sub("", text[: first.start]) + text[second.end :]
    between = text[first.end : second.start]
    return not label.strip(" .\n*`$:") and re.fullmatch(r"\s*[,;]?\s*", between) is not None


def _chained(text: str, times: Sequence[Time], place: int) -> str | None:
    """Why two times in a row are part of more: a third one, or a sign before the first."""
    first, second = times[place : place + 2]
    if place + 2 < len(times) and _TO.fullmatch(_between(text, second, times[place + 2])):
        return "more than two times in a row are not a span"
    if place and _TO.fullmatch(_between(text, times[place - 1], first)):
        return "more than two times in a row are not a span"
    if re.search(r"(?:^|[\s(\[,:])[-−]\Z", text[max(0, first.start - 2) : first.start]):
        return "a time before the video is no time"
    if _TO.fullmatch(_between(text, first, second)) and (
        re.search(r"\d,\Z", text[max(0, first.start - 2) : first.start])
        or re.match(r",\d", text[second.end : second.end + 2])
    ):
        return "a comma may be a decimal point"
    if text.startswith("/", second.end) or (
        {first.kind, second.kind} == {"plain"} and second.seconds <= 1 and _OF_WHOLE.match(text, second.end)
    ):
        return "a fraction is no time"
    return None


def _mixed(first: Time, second: Time) -> str | None:
    """Why a plain number can't have the unit of the time beside it."""
    for plain, other in ((first, second), (second, first)):
        if plain.kind != "plain" or other.kind == "plain":
            continue
        if other.kind == "clock" or other.unit is None or (other is first and other.unit != 1.0):
            return "a number beside another kind of time could mean several things"
    return None


def _in_seconds(first: Time, second: Time) -> Span:
    unit = second.unit if first.kind == "plain" and second.kind == "unit" and second.unit else 1.0
    return (first.seconds * unit, second.seconds)


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
