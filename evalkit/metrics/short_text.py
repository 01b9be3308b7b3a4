r"""Reads the short answer in a longer text, for benchmarks whose authors publish no rule."""

from __future__ import annotations

import re

from evalkit.metrics.base import NoReading

_FENCE = re.compile(r"\s*```\w*\n(.*?)\n?```\s*", re.DOTALL)
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
_FIELD = re.compile(r"[\"']answer[\"']\s*:\s*(?:\"([^\"]*)\"|'([^']*)'|([^,}\n]+))", re.IGNORECASE)
_SAID = re.compile(
    r"\banswer\s*(?:is\b\s*:?|:|=)[^\S\n]*\n?|答案(?:(?:是|为|為|应为|應為)[:：]?|[:：])"
    r"|^[^\S\n]*[#*_]*[^\S\n]?(?:final |short )?answer[*_]*[^\S\n]*\n+"
    r"|^[^\S\n]*(?:#{2,}+(?=[^\n]+\Z)|##+(?=#\Z))",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(
    r"(?<=[^\d\W])(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bSt)[.!](?=\s|$)|[!。]|\.$"
    r"|\s+(?:because|since|as shown|as seen)\b|,\s+(?:as|because|since)\b"
)
_EMPHASIS = re.compile(r"</?(?:b|i|em|strong)>", re.IGNORECASE)
_REFUSES = re.compile(
    r"\s*(?:I'?m (?:sorry|unable|not able)|I am (?:sorry|unable|not able)|sorry\b|unfortunately\b|as an AI"
    r"|I (?:can(?:no|')t|cannot|can not|don't know|do not know)|(?:it is |it's )?(?:unable|impossible) to"
    r"|cannot be determined|抱歉|对不起|无法)",
    re.IGNORECASE,
)
_VERDICT = re.compile(r"\s*[*_`\"']*(yes|no)\b[*_`\"']*(?:\s*[.,:;!\n—–]|\s+-\s|\s*\Z)", re.IGNORECASE)
_OPENS = re.compile(r"\s*+(?:__|[*`\"'“「《$])++")
_CLOSES = re.compile(r"\s*+(?:__|[*`\"'”」》$.])++")  # of a text from its end to its beginning
_FIRST_LINE = re.compile(r"\s*(\S+(?:[^\S\n]+\S+){0,2})[^\S\n]*\n+\s*\S")
_HEADING = re.compile(r"[:#|]|^[-*]\s")


def extract_short_answer(text: str) -> str:
    r"""The answer that a text gives, or the whole text where it says nothing of an answer.

    In this order: in ``\boxed{}``, in JSON (``"answer"``), after "answer is" or "Answer:" (the last), a
    Yes or No that begins the text, a first line of at most three words, and what markdown or quotes are
    around.

    Raises:
        NoReading: the text refuses to answer.

    >>> extract_short_answer("The answer is **two cars**."), extract_short_answer("Yes, it does.")
    ('two cars', 'Yes')
    >>> extract_short_answer("a red car")
    'a red car'
    """
    text = re.sub(r"\n(?:\s?\n)+", "\n\n", re.sub(r"[^\S\n]+", " ", text))
    fenced = _FENCE.fullmatch(text)
    text = _EMPHASIS.sub("", fenced[1] if fenced else text)
    for pattern in (_BOXED, _FIELD):
        found = list(pattern.finditer(text))
        if found:
            return _bare(next(group for group in found[-1].groups() if group is not None))
    said = list(_SAID.finditer(text))
    if said:
        line = text[said[-1].end() :].lstrip(" *").partition("\n")[0]
        return _bare(_SENTENCE_END.split(line, maxsplit=1)[0])
    if _REFUSES.match(text):
        raise NoReading("the answer is a refusal")
    verdict = _VERDICT.match(text)
    if verdict:
        return verdict[1]
    first = _FIRST_LINE.match(text)
    if first and not _HEADING.search(first[1]):
        return _bare(first[1])
    return _bare(text)


def _bare(text: str) -> str:
    """A text without the marks around it."""
    text = _TEXT.sub(r"\1", text)
    opens, closes = _OPENS.match(text), _CLOSES.match(text[::-1])
    if opens and closes:
        marks = opens[0], closes[0]
        if ("$" in marks[0]) != ("$" in marks[1]):  # of money, and not around a formula
            marks = marks[0].partition("$")[0], marks[1].partition("$")[0]
        text = text[len(marks[0]) : len(text) - len(marks[1])] or text
    return text.strip(" \n*")
