"""Rules for answers that give an option's text instead of its letter."""

from __future__ import annotations

import re
from collections.abc import Iterator

from evalkit.metrics.choice_context import ChoiceText
from evalkit.metrics.choice_phrases import ANSWER_IS
from evalkit.metrics.choice_statement import Statement, of_option
from evalkit.metrics.choice_text import NOUN, clean

_YES_NO = frozenset(("yes", "no", "true", "false", "correct", "incorrect"))
LABEL_TEXT = rf"(?:the\s+)?(?:{NOUN})?\s*[a-z]"
LISTS = re.compile(r"\b(?:each|every|options|choices|analy[sz]e|one by one|breakdown)\b|逐一", re.IGNORECASE)
_DENIAL = re.compile(
    r"(?:\b(?:not|no|never|neither|nor|without|rather than|instead of|than|unlike|isn't|aren't|wasn't|"
    r"doesn't \w+|n't)|n't|不是)\s+"
    r"(?:(?:an?|the|in|on|at|any|be|to the|a kind of)\s+)*$",
    re.IGNORECASE,
)
_ORDINAL = r"\b(?:option|choice|alternative)s?\s*(?:number|no\.?)?\s*[#(]?"
_NEAR = 200  # characters before an option's text that may deny it
_DENIED = re.compile(
    r"\s+(?:is|are|was|would be)\s+(?:\w+ly\s+)?(?:wrong|incorrect|not (?:the )?(?:correct|right|answer))\b|"
    r"\s*(?:是错|不对|不正确)"
)


def leading_text(answer: ChoiceText) -> Iterator[Statement]:
    """The option whose text the answer begins with."""
    text = clean(answer.raw).casefold()
    starts = [
        (len(own), letter, text[len(own) :])
        for letter, own in answer.texts.items()
        if text.startswith(own) and len(own) > 1
    ]
    for length, letter, rest in starts:
        if length < max(each[0] for each in starts):
            continue
        own = answer.texts[letter]
        others = [other for other in answer.texts.values() if other != own and contains(rest, other)]
        if re.match(r"\s*(?:[!:;。\n]|[-–—]\s|\.(?!\d)|$)", rest) or (
            re.match(r"\s*,", rest) and (own in _YES_NO or not others)
        ):
            yield Statement(letter, 0, "leading_text")


def option_text(answer: ChoiceText) -> Iterator[Statement]:
    """Options whose text is in what is stated, else in the answer."""
    text = " ".join(_without_conditions(_without_list(answer, _stated_part(answer))).casefold().split())
    found = {letter: own for letter, own in answer.texts.items() if contains(text, own)}
    against = answer.rejected_letters
    for letter, own in found.items():
        # "Box A" is mentioned for many reasons; the rules for letters have seen to it.
        names_a_label = re.fullmatch(LABEL_TEXT, own, re.IGNORECASE)
        if (
            letter not in against
            and not names_a_label
            and not _is_ordinal(own, text)
            and not any(own != other and contains(other, own) for other in found.values())
        ):
            yield Statement(letter, 0, "option_text")


def _is_ordinal(own: str, text: str) -> bool:
    """Whether a number stands after "option", which may be the third one or the one that says 3."""
    return own.isdigit() and re.search(rf"{_ORDINAL}{own}(?!\d)", text) is not None


def _stated_part(answer: ChoiceText) -> str:
    """What a text calls its answer, up to the end of the sentence; else what is boxed last; else all."""
    stated = [
        found
        for found in ANSWER_IS.finditer(answer.text)
        if not re.search(r"\boptions?\b", found[0], re.IGNORECASE)
    ]
    boxed = re.findall(r"⟦([^⟦⟧]*)⟧", answer.text)
    if stated:
        start = stated[-1].end()
        begins = re.compile(r"\s*").match(answer.text, start)
        return answer.text[start : answer.sentence_end(begins.end() if begins else start)]
    return boxed[-1] if boxed else answer.text


def _without_list(answer: ChoiceText, text: str) -> str:
    """The text without lines that repeat the options."""
    lines = text.split("\n")
    listed = [line for line in lines if re.match(r"\W*[A-Za-z][).:]", line) and of_option(answer, line)]
    repeats = frozenset(listed)
    repeated = len(listed) > 1 or (listed and LISTS.search(text))
    return "\n".join(line for line in lines if line not in repeats) if repeated else text


def _without_conditions(text: str) -> str:
    return re.sub(r"\b(?:if|unless|whether)\b[^.!?;,\n]*", "", text, flags=re.IGNORECASE)


def contains(text: str, part: str) -> bool:
    """Whether words (or a number) are in a text on their own, and not denied right before or after."""
    if len(part) == 1 and part.isalpha():
        return False
    pattern = rf"(?<![\w.\-]){re.escape(part)}(?!\w|[.,]\d)" if part.isascii() else re.escape(part)
    return any(
        not _DENIAL.search(text, max(0, found.start() - _NEAR), found.start())
        and not _DENIED.match(text, found.end())
        for found in re.finditer(pattern, text)
    )
