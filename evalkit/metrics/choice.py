"""Multiple-choice answers: which option does a text choose?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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

Reader = Callable[[str, Mapping[str, str]], str | None]


@dataclass(frozen=True)
class MultipleChoice:
    """Accuracy over option letters; an answer without a readable choice is wrong, never guessed.

    ``read`` turns a text and the options (letter to text) into the letter that it chooses, or
    None; benchmarks whose authors have a rule of their own put it here (:mod:`.letters`). ``macro``
    names a group whose labels' unweighted mean is reported too, as ``macro_acc``. With ``answered``,
    the accuracy over answers with a readable choice is reported as ``official_acc``.

    >>> metric = MultipleChoice()
    >>> metric.score(Answer("The answer is (B).", "B")).value
    1.0
    >>> metric.score(Answer("A dog runs", "A")).parse_error
    'no option was chosen'
    """

    read: Reader = field(default=lambda text, options: extract_letter(text, options))
    macro: str | None = None
    answered: bool = False
    name: str = "acc"
    range: tuple[float, float] = (0.0, 1.0)

    def score(self, answer: Answer) -> Score:
        """Judge one answer; ``answer.reference`` is the right option's letter.

        Raises:
            ValueError: the reference is not a letter of the options.
        """
        right = letter_reference(answer)
        chosen = self.read(answer.prediction, answer.options)
        if chosen is None:
            return Score(0.0, parse_error="no option was chosen")
        if answer.options and chosen not in answer.options:
            return Score(0.0, parsed=chosen, parse_error=f"{chosen!r} is no option")
        return Score(float(chosen == right), parsed=chosen)

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Accuracy over all answers and over every label of every group; then ``macro_acc``, and
        ``official_acc`` with its breakdown (NaN where nothing was answered).
        """
        figures = mean_by_group(self.name, items)
        if self.macro is not None:
            prefix = f"{self.name}/{self.macro}/"
            figures["macro_acc"] = mean([value for key, value in figures.items() if key.startswith(prefix)])
        if self.answered:
            figures |= self._over_answered(items)
        return figures

    def _over_answered(self, items: Sequence[Scored]) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for item in items:
            for label in ("", *labelled(item.groups)):
                values = found.setdefault(f"official_acc{label}", [])
                if item.score.value is not None and item.score.parsed is not None:
                    values.append(item.score.value)
        return {name: mean(values) for name, values in found.items()}


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


def letter_reference(answer: Answer) -> str:
    """The right option's letter, which may stand in brackets.

    Raises:
        ValueError: the reference is not one letter, or not one of the options.
    """
    found = re.fullmatch(r"([A-Z])|\(([A-Z])\)", str(answer.reference))
    if not found:
        raise ValueError(f"the reference must be an option's letter, not {answer.reference!r}")
    right = found[1] or found[2]
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
