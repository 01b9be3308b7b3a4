r"""Reads the number, or the list of numbers, that an answer states.

Rules in order, the first that finds something decides: the text is a number; ``\boxed{}``; what an answer
is said to be ("answer is", "Answer:", JSON, 答案是); bold type; the last conclusion ("= 12", "the total
is 12"); the only number. What is found but could mean several numbers (a range, "3 or 4", a bound, a sum
not worked out, feet and inches) is no number, and no later rule is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from evalkit.metrics.base import NoReading
from evalkit.metrics.number_forms import FORM, NUMBER, WORDS, Number, numbers_in, plain

_SENTENCE = re.compile(r"(?<=[.!?])\s+|[\n。！？；]+")
_ENUMERATED = re.compile(r"(?m:^)[^\S\n]*(?:\(?\d{1,2}[.)]|[-*•])[^\S\n]+(?=\S)")
_LEADS = re.compile(
    rf"\s*[*$]*({NUMBER.pattern})[*$]*(?:\s*(?!{WORDS}\b)[A-Za-z°%]+)?\s*(?:[.:]\s|\n)", re.IGNORECASE
)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_SAID = re.compile(
    r"\banswers?\b(?:[^.\n\d=]{0,60}?(?:\b(?:is|are|was|be|equals?|becomes)\b|[:=→])|[\W_]{0,12}(?=\d))"
    r"|[\"'](?:result|value|output|number|count|prediction)[\"']\s*:"
    r"|\b(?:final\s+)?(?:result|solution|output)\s*(?:is\b|[:=])|\bans\s*[.:=]"
    r"|答案(?:应该|应当)?(?:是|为|等于|[:=])?|[结結]果(?:是|为|[:=])|(?m:^)\s*####"
    r"|\b(?:respuesta|r[ée]ponse|antwort|risposta|resposta|ответ)\b[\s*:]*(?:es|est|ist|è|é)?"
    r"|정답은?|答え(?:は|:)?",
    re.IGNORECASE,
)
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*|__([^_\n]+)__|<(?:b|strong)>([^<\n]+)</")
_REASON = re.compile(
    r"\b(?:because|since|as (?:there|shown|seen)|given that|based on|due to|considering|where|rounded"
    r"|compared)\b"
    r"|因为|由于|[(（](?=[^\d)）]{0,200}\d)(?=[^)）]{0,300}[)）])",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"[(（][^()（）]*[)）]")
_THEREFORE = re.compile(
    r"\b(?:so|therefore|thus|hence|in total|altogether|overall|leaves|leaving|giving|yielding|which means"
    r"|resulting in|that makes|this gives)\b"
    r"|因此|所以|一共|总共|共有|∴|⇒|→|=>",
    re.IGNORECASE,
)
# What stands before a number that is stated, and what may stand between.
_VERB = (
    r"\b(?:is|are|was|were|be|equals?|equal to|has|have|had|contains?|shows?|gives?|get|makes?|totals?|by"
    r"|left with|total of)\b|[=≈:]|\\approx|是|为|等于|有|约"
)
_FILLER = (
    r"\b(?:about|around|approximately|approx\.?|roughly|nearly|almost|exactly|only|therefore|thus|then|also|now"
    r"|equal to|a total of|total of|the number|the year|the value|in|at|there (?:is|are))\b|大约|约|共"
)
# A condition, not a result: "at x = 2". An equation that is not solved: "2x =", "x² =".
_GIVEN = re.compile(r"\b(?:at|when|for|if|with|where)\s+\$?[a-z]\w?\s*=\s*[-\d.]*\d\$?,?", re.IGNORECASE)
_UNSOLVED = re.compile(r"(?:\d\s*\*?\s*[A-Za-z]|[A-Za-z](?:\^\{?[2-9]\}?|[²³]))\s*\Z")
_STATES = re.compile(
    rf"(?:{_VERB})(?:\s*(?:{_FILLER})|[\s:*$~≈(\[{{\"'`]|\\[(,\[]|\\text(?:bf)?\{{)*\Z", re.IGNORECASE
)
_LEFT = re.compile(
    r"\s+(?:[\w-]+\s+){0,3}(?:remain|remains|left|remaining|in total|altogether)\b", re.IGNORECASE
)
_NEGATED = re.compile(
    r"\s*(?:not|n't|never|不是)\b(?:.*?\b(?P<but>but)\b(?:\s+rather)?|.*?(?P<rather>而是)|.*)",
    re.IGNORECASE | re.DOTALL,
)
_BOUND = re.compile(
    r"(?:\b(?:(?:more|less|fewer|greater|higher|lower|larger|smaller) than|at (?:least|most)|over|under"
    r"|above|below|between|up to|no (?:more|less) than|either)|[<>≤≥±]|\\(?:le|ge|leq|geq|lt|gt|pm)\b"
    r"|超过|大于|小于|至少|至多|不到|介于)\s*\Z",
    re.IGNORECASE,
)
# What may follow a number and make it another one, or one of several.
_JOINED = (
    r"[-–—~～]|\\sim|\b(?:to|or|and)\b|,|、|&|\+|[*×÷^]|\\(?:times|cdot|div|pm)|±|至|到|或|和|与"
    r"|x(?=\s*\d)|:(?=\d)"
)
_GOES_ON = re.compile(
    rf"\s*(?:{_JOINED})\s*(?:{FORM})"
    r"|\s*(?:million|billion|trillion|thousand|hundred|dozen|\\sqrt|√|\\pi\b|π|(?-i:[kMB])\b|万|亿)"
    rf"| (?=\d|{WORDS}\b)"
    r"|\+(?!\s*[\d(])"  # "5+" is a bound
    rf"|\s+[A-Za-z]+(?:\s[A-Za-z]+)?\s+(?:and|or)\s+(?:{FORM})"
    rf"|\s+(?:less|more|fewer|greater) than\s+(?:{FORM})"
    rf"|\s*(?:feet|foot|ft|'|′|hours?|hrs?|minutes?|mins?|yards?|pounds?|lbs?|小时|分钟?)(?:\s*|\s+and\s+)(?:{FORM})",
    re.IGNORECASE,
)
_REFUSES = re.compile(
    r"\b(?:can(?:no|')t|can not|cannot|unable|impossible|not possible|don'?t know|do not know|insufficient"
    r"|not enough|sorry|unclear|unknown|none of"
    r"|not (?:clear|visible|given|provided|shown|specified|able|sure|certain))\b"
    r"|无法|不能确定|不知道|不清楚|抱歉",
    re.IGNORECASE,
)
_NEAR = 120  # characters before a number that are looked at
_PASSAGE = 500  # characters of a statement
_MOST = 20  # statements, from the last one, that are looked at
_COMMAS = re.compile(rf"(?:{FORM})(?:(?:\s*[,、]\s*(?:and\s+)?|\s+and\s+)(?:{FORM}))+", re.IGNORECASE)


def read_number(text: str) -> str:
    r"""The number that a text states, as ``float`` reads it: without units, currency and separators, with
    ``-`` for every minus and ``e`` for powers of ten, fractions worked out.

    Raises:
        NoReading: it states none, or could mean several.

    >>> read_number("The area is \\boxed{12} cm^2."), read_number("The answer is 12 out of 30.")
    ('12', '12')
    >>> read_number("Area = 3 x 4 = −1,200.5 m^2"), read_number("答案是\\frac{3}{4}")
    ('-1200.5', '0.75')
    """
    text = plain(text)
    enumerated = len(_ENUMERATED.findall(text)) > 1  # a single one may be an answer, and its reason after it
    leads = None if enumerated else _LEADS.match(text)
    text = _ENUMERATED.sub("", text) if enumerated else text
    for passage in chain(_explicit(text), [leads[1]] if leads else []):
        found = _stated(passage)
        if found is not None:
            return found
    if _REFUSES.search(text):
        raise NoReading("the answer is a refusal")
    for rule in (_bold, _concluded, _only):
        found = rule(text)
        if found is not None:
            return found
    raise NoReading(
        "several numbers, and none is said to be the answer" if _distinct(text) else "no number in the answer"
    )


def read_list(text: str) -> str:
    """The list of numbers that a text states, as Python writes it: the last one in brackets, else the last
    of at least two numbers between commas.

    Raises:
        NoReading: there is none.

    >>> read_list("So it is [1,2.5]."), read_list("The answer is 3, 4 and 5.")
    ('[1, 2.5]', '[3, 4, 5]')
    """
    text = plain(text)
    explicit = list(_explicit(text))
    for passage in (*explicit, text):
        bracketed = re.findall(r"[\[({]((?=[^\[\](){}\d]*\d)[^\[\](){}]*?)\\?[\])}]", passage)
        listed = [part for part in bracketed if re.search(r"\d\s*[,;、]\s*[-\d]", part)]
        if not listed and (passage in explicit or re.search("[,、]", passage)):
            listed = _COMMAS.findall(passage)
        if listed:
            found = [number.value for number in numbers_in(re.sub(r"\s*[,;、]\s*", " ; ", listed[-1]))]
            return f"[{', '.join(found)}]"
    raise NoReading("no list in the answer")


def _explicit(text: str) -> Iterator[str]:
    """Passages that are the answer by what the text says, the surest first."""
    if NUMBER.fullmatch(text.strip(" .\n*$")):
        yield text
    for found in reversed(list(_BOXED.finditer(text))[-_MOST:]):
        yield _braced(text, found.end())
    for found in reversed(list(_SAID.finditer(text))[-_MOST:]):
        negated = _NEGATED.match(text[: found.end() + _PASSAGE], found.end())
        if negated and not (negated["but"] or negated["rather"]):
            continue
        start = negated.end() if negated else found.end()
        rest = text[start : start + _PASSAGE].lstrip(" \n*#:\"'`$")
        yield next((part for part in _SENTENCE.split(rest) if part and part.strip()), "")


def _braced(text: str, start: int) -> str:
    depth = 1
    for place in range(start, min(len(text), start + _PASSAGE)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return text[start:place]
    return text[start : start + _PASSAGE]


def _stated(passage: str) -> str | None:
    """The first number of a passage, after its last equals sign; None if there is none.

    Raises:
        NoReading: it could mean several.
    """
    reason = _REASON.search(passage)
    if reason and any(True for _ in numbers_in(passage[: reason.start()])):
        passage = passage[: reason.start()]
    passage = _without_conditions(passage)
    before, equals, result = passage.rpartition("=")
    if equals and any(True for _ in numbers_in(result)):
        _solved(before)
        passage = result
    found = next(iter(numbers_in(passage)), None)
    return None if found is None else _sure(passage, found)


def _without_conditions(text: str) -> str:
    """A text without "at x = 2" and the like, if there are other numbers in it."""
    bare = _blanked(_GIVEN, text)
    return bare if any(True for _ in numbers_in(bare)) else text


def _blanked(pattern: re.Pattern[str], text: str) -> str:
    """A text without what a pattern finds; many in a row leave no long white space."""
    return re.sub(r"[^\S\n]{3,}", "  ", pattern.sub(" ", text))


def _solved(before: str) -> None:
    """See that what stands before an equals sign is no multiple or power of what is asked for.

    Raises:
        NoReading: it is one.
    """
    if _UNSOLVED.search(before):
        raise NoReading("an equation that is not solved")


def _sure(passage: str, found: Number) -> str:
    if _BOUND.search(passage[max(0, found.start - _NEAR) : found.start]):
        raise NoReading("a bound is not a number")
    follows = _GOES_ON.match(passage, found.end)
    if follows and not re.match(r"\s*,\s*\d+\s+(?:of|in)\b", passage[found.end :]):
        raise NoReading(f"{passage[found.start : follows.end()].strip()!r} is not one number")
    return found.value


def _bold(text: str) -> str | None:
    """The one number that is in bold type, alone or with words."""
    stated = set()
    for part in (next(part for part in found.groups() if part) for found in _BOLD.finditer(text)):
        numbers = list(numbers_in(part))
        if len(numbers) == 1 and not _GOES_ON.match(part, numbers[0].end):
            stated.add(numbers[0].value)
    return stated.pop() if len(stated) == 1 else None


def _concluded(text: str) -> str | None:
    """What the last sentence that states a number says."""
    for sentence in reversed(_SENTENCE.split(_blanked(_ASIDE, text))):
        if not sentence:
            continue
        reason = _REASON.search(sentence)
        kept = _without_conditions(sentence[: reason.start()] if reason else sentence)
        therefore = list(_THEREFORE.finditer(kept))
        for start in (*(found.end() for found in therefore[-1:]), 0):
            clause = kept[start:]
            found = _states(clause)
            if found is None and start and len(_distinct(clause)) == 1:
                found = _sure(clause, _hard(clause)[0])
            if found is not None:
                return found
    return None


def _states(clause: str) -> str | None:
    before, equals, result = clause.rpartition("=")
    if equals and _hard(result):
        _solved(before)
    if equals and clause.count("=") == 1 + len(re.findall(r"=[^,;]*(?==)", clause)) and _hard(result):
        return _sure(result, _hard(result)[0]) if len({each.value for each in _hard(result)}) == 1 else None
    found = _hard(clause)
    stated = [
        each
        for each in found
        if _STATES.search(clause[max(0, each.start - _NEAR) : each.start]) or _LEFT.match(clause, each.end)
    ]
    if len({number.value for number in stated}) != 1:
        return None
    last = stated[-1]
    later = {number.value for number in found if number.start > last.start}
    return _sure(clause, last) if not later else None


def _hard(text: str) -> list[Number]:
    """The numbers of a text, without dates and counts of what the text is about, if there are others."""
    found = list(numbers_in(text))
    return [number for number in found if not number.passing] or found


def _distinct(text: str) -> set[str]:
    return {number.value for number in _hard(text)}


def _only(text: str) -> str | None:
    for part in (_blanked(_ASIDE, text), text):
        if len(_distinct(part)) == 1:
            return _sure(part, _hard(part)[0])
    return None
