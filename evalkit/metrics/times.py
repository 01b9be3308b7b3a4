"""Reads timestamps and durations from answers, in seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

TimeForm = Literal["clock", "unit", "plain", "other"]

_NUMBER = r"\d+(?:\.\d+)?"
_END = r"(?![A-Za-z])"
_HOUR = rf"(?:hours?|hrs?|h){_END}|小时|時間"
_MINUTE = rf"(?:minutes?|mins?|m){_END}|分钟|分鐘|分|['′]"
_SECOND = rf"(?:seconds?|secs?|s){_END}|秒钟?|″|''"
_MILLI = rf"(?:milliseconds?|msecs?|ms){_END}|毫秒"
_LINK = r"[\s,]*(?:and\s+)?"
_TIME = re.compile(
    rf"(?<![A-Za-z0-9_.:])(?:(?:(?P<hh>\d{{1,2}}):)?(?P<mm>\d{{1,3}}):(?P<ss>[0-5]\d(?:\.\d+|,\d{{3}}(?!\d))?)(?:\s*(?:{_SECOND}))?"
    rf"|(?:(?P<hours>{_NUMBER})\s*-?(?:{_HOUR}){_LINK})?(?:(?P<minutes>{_NUMBER})\s*-?(?:{_MINUTE}){_LINK})?"
    rf"(?P<seconds>{_NUMBER})(?:\s*[-(\[]?(?:{_SECOND}|(?P<quote>\"(?<=\d['′]\d\d\")|\"(?<=\d['′]\d\")))"
    rf"|(?P<ordinal>(?:st|nd|rd|th)\b(?:\s+seconds?\b)?)|(?P<milli>\s*[(\[]?(?:{_MILLI})))"
    rf"|(?:(?P<hours2>{_NUMBER})\s*-?(?:{_HOUR}){_LINK})?(?P<minutes2>{_NUMBER})\s*[-(\[]?(?:{_MINUTE})"
    rf"|(?P<hours3>{_NUMBER})\s*[-(\[]?(?:{_HOUR})"
    rf"|(?P<plain>{_NUMBER}))(?![A-Za-z\d]|[.:]\d)",
    re.IGNORECASE,
)
_OF_A_SECOND = re.compile(r"(?:\b(?:seconds?|secs?)|秒)\s*[=:#]?\s*\Z", re.IGNORECASE)
_OTHER_BEFORE = re.compile(
    r"(?:\b(?:frames?|fps|scenes?|shots?|clips?|steps?|options?|chapters?|episodes?|pages?|lines?|rows?"
    r"|items?|questions?|rounds?|slides?|panels?|levels?|no\.?)\b\s*(?:numbers?|index|indices|ids?)?\W*"
    r"|[$€£¥#]\s*|帧\s*)\Z",
    re.IGNORECASE,
)
_OTHER_AFTER = re.compile(r"\s*(?:%|°|frames?\b|fps\b|帧|px\b|[ap]\.?m\b\.?)", re.IGNORECASE)
# Words that may follow a plain number of seconds; any other noun is what was counted.
_NO_NOUN = re.compile(
    r"\s*(?:\Z|[^\w\s]|\n|(?:in|into|of|when|where|as|while|during|the|and|to|until|till|through|mark|is|with"
    r"|for|on|at|or|which|that|after|before|onwards?|approximately|about|inclusive|respectively)\b|[^\x00-\x7f])",
    re.IGNORECASE,
)

_NEAR = 40  # characters before a number that are looked at


@dataclass(frozen=True)
class Time:
    """A timestamp in a text: ``seconds`` from the start of the video, and its place.

    ``kind``: ``clock`` (1:05), ``unit`` (5 s), ``plain`` (5, which is seconds unless another time gives it a
    unit), or ``other`` (a frame, a percentage, a count). ``unit`` is the number of seconds of the only unit.
    """

    seconds: float
    kind: TimeForm
    start: int
    end: int
    unit: float | None = None
    counted: bool = False


def times_in(text: str) -> Iterator[Time]:
    """The times of a text, and other numbers, in order.

    >>> [(time.seconds, time.kind) for time in times_in("1m5s, 00:01:09,500 and frame 3")]
    [(65.0, 'unit'), (69.5, 'clock'), (3.0, 'other')]
    """
    for found in _TIME.finditer(text):
        seconds, kind, unit = _read(found)
        before = text[max(0, found.start() - _NEAR) : found.start()]
        if kind == "plain" and _OF_A_SECOND.search(before):
            kind, unit = "unit", 1.0
        if _OTHER_BEFORE.search(before) or _OTHER_AFTER.match(text, found.end()):
            kind = "other"
        counted = kind == "plain" and _NO_NOUN.match(text, found.end()) is None
        yield Time(seconds, kind, found.start(), found.end(), unit, counted)


def _read(found: re.Match[str]) -> tuple[float, TimeForm, float | None]:
    if found["ss"]:
        return _total(found["hh"], found["mm"], found["ss"].replace(",", ".")), "clock", None
    if found["plain"]:
        return float(found["plain"]), "plain", None
    if found["milli"]:
        return float(found["seconds"]) / 1000, "unit", 0.001
    if found["seconds"]:
        whole = _total(found["hours"], found["minutes"], found["seconds"])
        if found["ordinal"]:
            return whole, "unit" if "second" in found["ordinal"].lower() else "plain", 1.0
        return whole, "unit", None if found["hours"] or found["minutes"] else 1.0
    if found["minutes2"]:
        return _total(found["hours2"], found["minutes2"], "0"), "unit", None if found["hours2"] else 60.0
    return _total(found["hours3"], "0", "0"), "unit", 3600.0


def _total(hours: str | None, minutes: str | None, seconds: str) -> float:
    return float(hours or 0) * 3600 + float(minutes or 0) * 60 + float(seconds)
