"""Reads the chosen option from an answer: by its statements, else by the first weaker rule that applies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.metrics.base import Answer
from evalkit.metrics.choice_context import ChoiceText
from evalkit.metrics.choice_phrases import CONCLUDES, STARTS_OVER, TAKES_BACK
from evalkit.metrics.choice_rules import STATEMENTS
from evalkit.metrics.choice_statement import Statement
from evalkit.metrics.choice_text import comparable
from evalkit.metrics.choice_weak import WEAK

# A text with more letters repeats itself without end.
_MOST_LETTERS = 1000


@dataclass(frozen=True)
class ChoiceReading:
    """The option that a text chooses, and the rule that read it; None where that can't be told."""

    letter: str | None
    rule: str | None = None


def read_choice(text: str, options: Mapping[str, str], question: str = "") -> ChoiceReading:
    """Read an answer by the rules of :mod:`.choice_rules`, then (nothing is stated) of :mod:`.choice_weak`.

    ``options`` maps letters to texts; without them, A to J are taken as letters. ``question`` tells which
    comparison answers it ("closer"). What is uncertain is not read.
    """
    answer = ChoiceText(text, options, question)
    if len(answer.mentions) > _MOST_LETTERS:
        return ChoiceReading(None)
    return ChoiceReading(*(_stated(answer) or _weak(answer)))


def contradiction(answer: Answer, letter: str) -> str | None:
    """Why the letter that an official rule read is in doubt (our rules read another one), or None."""
    ours = read_choice(answer.prediction, answer.options, answer.question)
    if ours.letter == letter:
        return None
    if ours.letter is None:
        text = ChoiceText(answer.prediction, answer.options)
        own = text.texts.get(letter, letter)
        known = own in comparable(text.raw) if len(own) > 1 else False
        named = any(mention.letter == letter for mention in text.mentions)
        return (
            None if named or known else f"the official rule reads {letter}, which doesn't stand in the answer"
        )
    return f"the official rule reads {letter}, but the answer seems to say {ours.letter} ({ours.rule})"


def _stated(answer: ChoiceText) -> tuple[str | None, str | None] | None:
    """The letter that the statements agree on and its rule, ``(None, None)`` where they contradict
    each other, or None where there are none.
    """
    found = [statement for rule in STATEMENTS for statement in rule.find(answer)]
    found.sort(key=lambda statement: (statement.place, statement.weight))
    if not found:
        return None
    heaviest = max(statement.weight for statement in found)
    if heaviest >= 3:
        found = [statement for statement in found if statement.weight == heaviest]
    last = found[-1]
    same = [statement for statement in found if statement.choice == last.choice]
    others = [statement for statement in found if statement.choice != last.choice]
    if others and not _overrules(answer, last, others):
        return None, None
    if last.choice is None or last.choice not in answer.letters or _withdrawn(answer, last):
        return None, None
    return last.choice, max(reversed(same), key=lambda statement: statement.weight).rule


def _withdrawn(answer: ChoiceText, last: Statement) -> bool:
    """Whether the text starts over after its last statement ("B. Wait, ...") and names another letter."""
    again = STARTS_OVER.search(answer.text, last.place)
    return (
        again is not None
        and last.weight < 2
        and any(each.start >= again.start() and each.letter != last.choice for each in answer.plain)
    )


def _overrules(answer: ChoiceText, last: Statement, others: Sequence[Statement]) -> bool:
    """Whether the last statement is a conclusion, or what was said before is taken back."""
    if last.weight >= 3:
        return False
    between = min(others[-1].place, last.place), last.place
    if TAKES_BACK.search(answer.text, *between) or STARTS_OVER.search(answer.text, *between):
        return True
    return _strength(answer, last) > max(_strength(answer, other) for other in others)


def _strength(answer: ChoiceText, statement: Statement) -> int:
    # "Therefore, the answer is:" may be a line of its own, before that of the letter.
    far = max(0, statement.place - 200)
    stands = far + len(answer.text[far : statement.place].rstrip())
    line = answer.text.rfind("\n", far, stands)
    start = max(min(answer.sentence_start(statement.place), line + 1), statement.place - 200)
    concludes = CONCLUDES.search(answer.text, start, statement.place)
    return 2 * statement.weight + (1 if concludes else 0)


def _weak(answer: ChoiceText) -> tuple[str | None, str | None]:
    """The letter of the first rule that finds something, and its name; ``(None, None)`` where that rule finds
    several options, or none does.
    """
    texts_only = answer.options_are_letters and not any(mention.bracketed for mention in answer.mentions)
    for rule in WEAK:
        if texts_only and rule.name in ("compared", "only_letter"):
            continue
        letters = {statement.choice for statement in rule.find(answer)}
        if rule.name == "compared" and len(letters) == 1 and _texts_named(answer) - letters:
            return None, None  # "B looks darker, but I would say they are about the same"
        if len(letters) == 1:
            return letters.pop(), rule.name
        if len(letters) > 1 and rule.name not in ("introduced", "bold", "bracketed_at_the_end", "bracketed"):
            return None, None
    return None, None


def _texts_named(answer: ChoiceText) -> set[str | None]:
    return {statement.choice for statement in WEAK[-1].find(answer)}
