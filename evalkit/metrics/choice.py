"""Multiple-choice answers: which option does a text choose?"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalkit.metrics.base import Answer, Score, Scored, labelled, mean, mean_by_group

_NO_OPTIONS = "ABCDEFGHIJ"
# "A dog" and "I think" choose nothing; before these words, "A" is the option ("A because ...").
_NOT_A_NOUN = r"(?:because|since|as|is|and|or|but|for|which|based)\b"
_ARTICLE = re.compile(rf"[Aa]\s+(?!{_NOT_A_NOUN})\w|I\s+\w")
_WHOLE = re.compile(r"[\s\"'`*_(\[]*([A-Za-z])[\s\"'`*_)\].:,]*")
_LEADING = re.compile(r"(?m)^\s*[*_`]*(?:[(\[]([A-Za-z])[)\]]|([A-Za-z])[).:](?=[\s*_`]|$))")
_STATED = re.compile(
    r"(?:(?:answer|option|choice)\s*(?:is|:|would\s+be)|\\boxed\s*\{|\*\*)"
    r"[\s:*_`\"']*(?:(?:option|choice)\s+)?(?:\\text\s*\{)?([(\[]?)([A-Za-z])(?![A-Za-z0-9'’])",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"(?<![\w'’/-])(?<!\bnot )([(\[]?)([A-Z])(?![\w'’/-])")

# What Video-MME's script deletes before it looks for a letter. Two commas are missing in it, so
# that "The best option is" and "Best answer:" alone are not deleted (and the B of "Best" is found).
_VIDEO_MME_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is" + "The correct option is",
    "Best answer:" + "Best option:",
    "Answer:",
    "Option:",
    "The correct answer",
    "The correct option",
)


@dataclass(frozen=True)
class MultipleChoice:
    """Accuracy over option letters; an answer without a readable choice is wrong, never guessed.

    >>> metric = MultipleChoice()
    >>> metric.score(Answer("The answer is (B).", "B")).value
    1.0
    >>> metric.score(Answer("A dog runs", "A")).parse_error
    'no option was chosen'
    """

    name: str = "acc"
    range: tuple[float, float] = (0.0, 1.0)

    def score(self, answer: Answer) -> Score:
        """Judge one answer; ``answer.reference`` is the right option's letter.

        Raises:
            ValueError: the reference is not a letter of the options.
        """
        right = letter_reference(answer)
        chosen = extract_letter(answer.prediction, answer.options)
        if chosen is None:
            return Score(0.0, parse_error="no option was chosen")
        return Score(float(chosen == right), parsed=chosen)

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Accuracy over all answers and over every label of every group."""
        return mean_by_group(self.name, items)


@dataclass(frozen=True)
class VideoMmeAccuracy:
    """Video-MME's accuracy: ``acc`` over all questions, ``official_acc`` over answered ones.

    Extraction is the official script's: certain phrases are deleted, then the first of the
    letters A to D anywhere in the text is the choice; a text without one is "not answered". The
    official script leaves unanswered questions out of the denominator; ``acc`` counts them wrong.

    >>> VideoMmeAccuracy().score(Answer("The answer is: D", "D")).value
    1.0
    """

    name: str = "acc"
    range: tuple[float, float] = (0.0, 1.0)

    def score(self, answer: Answer) -> Score:
        """Judge one answer; ``answer.reference`` is a letter from A to D.

        Raises:
            ValueError: the reference is something else.
        """
        right = letter_reference(answer)
        chosen = video_mme_letter(answer.prediction)
        if not chosen:
            return Score(0.0, parse_error="no letter from A to D in the answer")
        return Score(float(chosen == right), parsed=chosen)

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """``acc`` and ``official_acc`` over everything and over every label of every group.

        A figure is NaN where nothing was answered.
        """
        answered: dict[str, list[float]] = defaultdict(list)
        for item in items:
            for label in ("", *labelled(item.groups)):
                found = answered[f"official_acc{label}"]
                if item.score.value is not None and item.score.parse_error is None:
                    found.append(item.score.value)
        return {**mean_by_group(self.name, items), **{name: mean(found) for name, found in answered.items()}}


def extract_letter(text: str, options: Mapping[str, str]) -> str | None:
    r"""The upper-case letter that ``text`` chooses, or None where that can't be told.

    In this order: the text is a letter; it starts with ``(X)``, ``X.``, ``X)`` or ``X:`` (and
    does not list several options); it states ``the answer is X``, ``\boxed{X}`` or ``**X**``
    (the last such statement counts); it has one standalone capital; it contains the text of one
    option. ``A`` and ``I`` before a word are an article and a pronoun. ``options`` maps letters to
    texts; without them, A to J are taken as letters.

    >>> extract_letter("c", {}), extract_letter("(B) a dog", {}), extract_letter("I choose D!", {})
    ('C', 'B', 'D')
    >>> extract_letter("It is a red car.", {"A": "a blue car", "B": "a red car"})
    'B'
    >>> extract_letter("either A or B", {}) is None
    True
    """
    letters = {letter.upper() for letter in options} or set(_NO_OPTIONS)
    text = text.strip()
    whole = _WHOLE.fullmatch(text)
    if whole:
        return whole[1].upper() if whole[1].upper() in letters else None
    leading = [letter for letter in _leading(text) if letter in letters]
    if leading and len(set(leading)) == 1 and _LEADING.match(text):
        return leading[0]
    stated = [letter for letter in _stated(text) if letter in letters]
    if stated:
        return stated[-1]
    tokens = {letter for letter in _tokens(text) if letter in letters}
    if tokens:
        return tokens.pop() if len(tokens) == 1 else None
    return _by_content(text, options)


def video_mme_letter(text: str) -> str:
    """The letter that Video-MME's own script extracts, or an empty string.

    >>> video_mme_letter("Best answer: D"), video_mme_letter("c")
    ('B', '')
    """
    text = text.strip()
    for prefix in _VIDEO_MME_PREFIXES:
        text = text.replace(prefix, "")
    found = re.search("[ABCD]", text)
    return found[0] if found else ""


def letter_reference(answer: Answer) -> str:
    """The right option's letter.

    Raises:
        ValueError: the reference is not one letter, or not one of the options.
    """
    right = answer.reference
    if not isinstance(right, str) or not re.fullmatch("[A-Z]", right):
        raise ValueError(f"the reference must be an option's letter, not {right!r}")
    if answer.options and right not in answer.options:
        raise ValueError(f"the reference {right} is not among the options {', '.join(answer.options)}")
    return right


def _leading(text: str) -> list[str]:
    """Options that lines of the text start with."""
    return [(found[1] or found[2]).upper() for found in _LEADING.finditer(text)]


def _stated(text: str) -> Iterator[str]:
    for found in _STATED.finditer(text):
        bracket, letter = found[1], found[2]
        if bracket or (not _ARTICLE.match(text, found.start(2)) and _ends(text, letter, found.end())):
            yield letter.upper()


def _ends(text: str, letter: str, end: int) -> bool:
    """A small letter is a choice only where the clause ends after it, not within a sentence."""
    return letter.isupper() or re.match(r"[^\w\s]|\s*$", text[end:]) is not None


def _tokens(text: str) -> Iterator[str]:
    for found in _TOKEN.finditer(text):
        if found[1] or not _ARTICLE.match(text, found.start(2)):
            yield found[2]


def _by_content(text: str, options: Mapping[str, str]) -> str | None:
    """The only option whose words are in the text; one inside a longer one that is in it too
    doesn't count.
    """
    plain = _plain(text)
    found = {letter: _plain(option) for letter, option in options.items()}
    found = {letter: option for letter, option in found.items() if option and _contains(plain, option)}
    longest = [
        letter
        for letter, option in found.items()
        if not any(option != other and _contains(other, option) for other in found.values())
    ]
    return longest[0].upper() if len(longest) == 1 else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,;:!?\"'")


def _contains(text: str, part: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None
