"""Reads yes or no from an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalkit.metrics.choice_context import ChoiceText
from evalkit.metrics.choice_phrases import CONCLUDES, CORRECTS_BEFORE, STARTS_OVER, TAKES_BACK
from evalkit.metrics.choice_statement import Rule, Statement

_YES = r"yes|yeah|yep|yup|是的|是|对|對|有的|有|正确"
_NO = r"no|nope|nah|不是的|不是|并不是|不对|不對|不|没有|沒有|没|否|错误"
_SAID = re.compile(rf"(?:(?P<no>{_NO})|(?P<yes>{_YES}))(?![A-Za-z'])", re.IGNORECASE)
_ENDS = re.compile(
    r"\s*(?:[.,;:!。⟧)\n\"]|$|[-–—]|\b(?:because|since|as|there|it|the|i|this|that|they|he|she|we|you|sir)\b)",
    re.IGNORECASE,
)
# "Yes or no?", "yes/no", "yes and no" say neither.
_BOTH = re.compile(
    r"\b(?:yes\s*(?:,\s*|/|\\|or|and)\s*no|no\s*(?:/|or|and)\s*yes)\b|是或否|(?<!答案)是否|是不是|有没有",
    re.IGNORECASE,
)
# Here "no" (or 不) says nothing of what was asked.
_IDIOM = re.compile(
    r"\bno +(?:doubt|question about|wonder|longer|one\b|matter|problem|idea|way|(?:\w+\s+)?(?:image|picture|"
    r"photo|video|information|context|details?|evidence|indication|answer|visual))|\bin no way\b|"
    r"不确定|不清楚|不知道|无法|答案(?:应该|应|就)?是(?=\s*:?\s*\w)",
    re.IGNORECASE,
)
_DECLINES = re.compile(
    r"\b(?:(?:can(?:not|'t| not)|could(?:n't| not)|unable to|impossible to|not possible to|hard to|"
    r"difficult to)\s+(?:\w+\s+){0,2}?"
    r"(?:determin\w+|tell|say|answer|see|assist|help|identify|be determined|confirm|know|view|provide)|"
    r"not (?:sure|certain|clear)|"
    r"unsure|uncertain|unclear|don't know|do not know|sorry|as an ai)\b|无法|不确定|不清楚|不知道|抱歉",
    re.IGNORECASE,
)
_STATED = re.compile(
    r"(?:\b(?:answer|verdict|response|conclusion|ans)\b[^.!?;\n。]{0,60}?(?:\b(?:is|would be|must be|"
    r"should be)\b|:|=)|答案(?:应该|应|就)?(?:是|为)?:?|"
    r"\b(?:i(?:'d| would)? (?:say|answer|think)|would be|it's a|answer with)\b)[\s:⟦(]*(?:\w+ly\s+|"
    r"therefore\s+|a\s+)*$",
    re.IGNORECASE,
)
_SO = re.compile(
    r"(?:^|[\s,;.])(?:so|thus|therefore|hence|in conclusion|in short|所以|因此)\s*[,:]?\s*$", re.IGNORECASE
)
_FIELD = re.compile(
    r"[\"'](?:final[_ ]?answer|answer|verdict|prediction|response|"
    r"答案)[\"']\s*:\s*[\"']?(?P<value>[^\"',}\]\n]*)",
    re.IGNORECASE,
)
# Besides what is not there, such a text says what is, or it denies twice.
_NOT_ONLY_NO = re.compile(
    r"\bthere(?:'s| is| are| was| were)\s+(?!no\b|not\b|never\b|hardly\b)"
    r"|(?:\bnot|n't)\b[^.!?;\n]{0,60}?\bno\b",
    re.IGNORECASE,
)
_MARK = re.compile(r"\s*(?:[.,!。\n]|$)")
_WORDS = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}


@dataclass(frozen=True)
class YesNoReading:
    """``yes`` or ``no``, and the name of the rule that read it; None where a text says neither.

    ``stated`` says that it is a statement, not merely the only such word in the text.
    """

    said: str | None
    rule: str | None = None
    stated: bool = False


def _json(answer: ChoiceText) -> Iterator[Statement]:
    for found in _FIELD.finditer(answer.raw):
        said = _WORDS.get(found["value"].strip(" .!").lower())
        yield Statement(said, len(answer.text) + found.start(), "json", 2)


def _said(text: str) -> Iterator[tuple[str, int, int]]:
    """Every yes and no that is a word of its own and no idiom's."""
    skipped = {
        place
        for pattern in (_BOTH, _IDIOM)
        for found in pattern.finditer(text)
        for place in range(*found.span())
    }
    for found in _SAID.finditer(text):
        alone = not (
            found[0].isascii()
            and re.fullmatch(r"[A-Za-z'\-]", text[max(0, found.start() - 1) : found.start()])
        )
        if alone and found.start() not in skipped:
            yield ("no" if found["no"] else "yes"), found.start(), found.end()


def _leading(answer: ChoiceText) -> Iterator[Statement]:
    yield from _opening(answer.text)


def _opening(text: str) -> Iterator[Statement]:
    """The yes or no that a text begins with."""
    for said, start, end in _said(text):
        foreign = not text[start:end].isascii()
        if not re.sub(r"^\W+", "", text[:start]) and (
            _ENDS.match(text, end) or (foreign and end - start > 1)
        ):
            opposite = re.search(
                rf"[.!?\n]\s*{'no' if said == 'yes' else 'yes'}\s*(?:[.!?\n]|$)", text[end:], re.IGNORECASE
            )
            yield Statement(None if opposite else said, start, "leading")
        return


def _boxed(answer: ChoiceText) -> Iterator[Statement]:
    for found in re.finditer(r"⟦([^⟦⟧]*)⟧", answer.text):
        for inner in _opening(found[1]):
            yield Statement(inner.choice, found.start(), "boxed", 1)


def _stated(answer: ChoiceText) -> Iterator[Statement]:
    text = answer.text
    for said, start, end in _said(text):
        if _STATED.search(text[max(0, start - 120) : start]) and _ENDS.match(text, end):
            yield Statement(said, start, "stated")


def _concluded(answer: ChoiceText) -> Iterator[Statement]:
    text = answer.text
    for said, start, end in _said(text):
        if _SO.search(text[max(0, start - 40) : start]) and _MARK.match(text, end):
            yield Statement(said, start, "concluded", 1)


def _corrected(answer: ChoiceText) -> Iterator[Statement]:
    text = answer.text
    for said, start, end in _said(text):
        if CORRECTS_BEFORE.search(text[max(0, start - 120) : start]) and _ENDS.match(text, end):
            yield Statement(said, start, "corrected")


def _last_line(answer: ChoiceText) -> Iterator[Statement]:
    text = answer.text
    line = text.rpartition("\n")[2]
    letters = len(re.sub(r"\W+", "", line))
    for said, start, end in _said(line):
        if letters == len(re.sub(r"\W+", "", line[start:end])):
            yield Statement(said, len(text) - len(line) + start, "last_line")


def _only_word(answer: ChoiceText) -> Iterator[Statement]:
    text = answer.text
    for said, start, end in _said(text):
        if text[start:end].isascii() and not (said == "no" and _NOT_ONLY_NO.search(text)):
            yield Statement(said, start, "only_word")


STATEMENTS: Sequence[Rule] = (
    Rule("json", 'a JSON field "answer"', _json, (('{"answer": "No"}', "no"), ('{"answer": true}', "yes"))),
    Rule("boxed", r"yes or no in \boxed{}", _boxed, (("The sign is red: \\boxed{\\text{Yes}}", "yes"),)),
    Rule(
        "stated",
        'yes or no after "the answer is", 答案是',
        _stated,
        (
            ("There is a dog, so the answer is yes.", "yes"),
            ("答案是否。", "no"),
            ("The answer is yes or no.", None),
        ),
    ),
    Rule(
        "concluded",
        'yes or no after "so", "therefore"',
        _concluded,
        (("There is nothing like it. So, no.", "no"),),
    ),
    Rule(
        "corrected",
        'yes or no after "wait, actually", "hmm, wait", "correction"',
        _corrected,
        (("Yes. Wait, actually no.", "no"), ("No. Hmm, wait, yes, there is.", "yes")),
    ),
    Rule(
        "leading",
        "the text begins with yes or no",
        _leading,
        (
            ("**Yes**, there is no other.", "yes"),
            ("No. Yes would be wrong.", "no"),
            ("不是", "no"),
            ("是的,有一只狗。", "yes"),
            ("Yes and no.", None),
        ),
    ),
)
WEAK: Sequence[Rule] = (
    Rule(
        "last_line",
        "the last line is yes or no",
        _last_line,
        (("There is no dog, but is there a cat?\n\nYes", "yes"),),
    ),
    Rule(
        "only_word",
        "only one of both words is in the text, which declines nothing",
        _only_word,
        (
            ("There is no dog.", "no"),
            ("No doubt it is a dog.", None),
            ("There is a dog, no cat.", None),
            ("I cannot tell, there is no sign.", None),
        ),
    ),
)


def read_yes_no(text: str) -> YesNoReading:
    """Read a yes-or-no answer by the rules above: statements first; what contradicts itself says neither.

    >>> read_yes_no("Yes, there is no other."), read_yes_no("I am not certain.")
    (YesNoReading(said='yes', rule='leading', stated=True), YesNoReading(said=None, rule=None, stated=False))
    """
    answer = ChoiceText(text)
    found = [statement for rule in STATEMENTS for statement in rule.find(answer)]
    if found:
        return _together(answer.text, sorted(found, key=lambda each: (each.place, each.weight)))
    for rule in WEAK:
        said = {statement.choice for statement in rule.find(answer)}
        if said and (rule.name != "only_word" or not declines(text)):
            return YesNoReading(said.pop(), rule.name) if len(said) == 1 else YesNoReading(None)
    return YesNoReading(None)


def declines(text: str) -> bool:
    """Whether a text says that it can't say.

    >>> declines("I cannot determine that."), declines("No.")
    (True, False)
    """
    return _DECLINES.search(text.replace("’", "'")) is not None


def _together(text: str, found: Sequence[Statement]) -> YesNoReading:
    last = found[-1]
    others = [each for each in found if each.choice != last.choice]
    if others and last.weight < 2:
        between = others[-1].place, last.place
        taken_back = TAKES_BACK.search(text, *between) or STARTS_OVER.search(text, *between)
        concludes = CONCLUDES.search(text, max(others[-1].place, last.place - 120), last.place)
        if not taken_back and not (concludes and last.weight >= max(each.weight for each in others)):
            return YesNoReading(None)
    elif others:
        contradicts = any(each.weight == last.weight for each in others)
        return YesNoReading(None) if contradicts else YesNoReading(last.choice, last.rule, stated=True)
    return YesNoReading(last.choice, last.rule, stated=True) if last.choice else YesNoReading(None)
