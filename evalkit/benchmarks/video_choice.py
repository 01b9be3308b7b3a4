"""What the multiple-choice video tasks share: how a question is worded, which letter is right."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping

from evalkit.benchmarks.options import lettered, option_lines
from evalkit.core.errors import EnvironmentProblem

# The words of MVBench's authors, as Qwen's evaluations of MVBench and LVBench use them
# (github.com/QwenLM/Qwen3-VL, issue 715).
_WATCH = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail and "
    "movement of objects and the action and pose of persons.\n"
    "Based on your observations, select the best option that accurately addresses the question.\n"
)
_LETTER = "Answer with the option's letter from the given choices directly"
_INLINE = re.compile(r"\(([A-Z])\)[ \t]*(.*)")


def watch_closely(question: str, options: Mapping[str, str]) -> str:
    r"""The question as Qwen's evaluations ask MVBench and LVBench.

    >>> print(watch_closely("What moves?", {"A": "a cat", "B": "a dog"}).split("question.\n")[1])
    Question: What moves?
    Options:
    (A) a cat
    (B) a dog
    Answer with the option's letter from the given choices directly and only give the best option.
    """
    lines = "".join(f"({letter}) {text}\n" for letter, text in options.items())
    return f"{_WATCH}Question: {question}\nOptions:\n{lines}{_LETTER} and only give the best option."


def by_letter(question: str, options: Mapping[str, str]) -> str:
    r"""The question with one option a line, to be answered by a letter.

    >>> by_letter("What moves?", {"A": "a cat", "B": "a dog"})
    "What moves?\nA. a cat\nB. a dog\nAnswer with the option's letter from the given choices directly."
    """
    return f"{question}\n{option_lines(options)}\n{_LETTER}."


def split_question(text: str) -> tuple[str, dict[str, str]]:
    r"""The question and the options of a text that holds both, one ``(A) ...`` a line.

    >>> split_question("What moves?\n(A) a cat\n(B) a dog")
    ('What moves?', {'A': 'a cat', 'B': 'a dog'})
    >>> split_question("Is (A) right?")
    ('Is (A) right?', {})

    Raises:
        ValueError: a letter is skipped or repeated.
    """
    asked: list[str] = []
    options: dict[str, str] = {}
    for line in text.strip().splitlines():
        found = _INLINE.fullmatch(line.strip())
        if found and found[1] == string.ascii_uppercase[len(options)]:
            options[found[1]] = found[2].strip()
        elif found and options:
            raise ValueError(f"its option ({found[1]}) stands after ({[*options][-1]})")
        elif options:
            last = [*options][-1]
            options[last] = f"{options[last]} {line.strip()}".strip()
        else:
            asked.append(line.strip())
    return "\n".join(asked), options


def letter_of(answer: str, candidates: Iterable[str], *, first: bool = False) -> str:
    """The letter of the candidate that is the answer; the ``first`` if several are, where the official script
    of a data set does so.

    Raises:
        EnvironmentProblem: none of them is, or several are.

    >>> letter_of("a dog", ["a cat", "a dog"]), letter_of("a dog", ["a dog", "a dog"], first=True)
    ('B', 'A')
    """
    wanted = answer.strip()
    letters = [letter for letter, text in lettered(candidates).items() if text.strip() == wanted]
    if len(letters) == 1 or (letters and first):
        return letters[0]
    raise EnvironmentProblem(
        f"a question with the answer {answer!r}",
        f"the answer is {'each of ' + ', '.join(letters) if letters else 'none of its candidates'}",
        "use the repository and revision that the task declares (`evalkit tasks show NAME`)",
    )


def letter_at(place: int | str) -> str:
    """The letter of an option's place, counted from 0.

    Raises:
        ValueError: it is no whole number from 0 to 25.

    >>> letter_at(2), letter_at("0")
    ('C', 'A')
    """
    number = place.strip() if isinstance(place, str) else place
    whole = isinstance(number, int) and not isinstance(number, bool)
    if not whole and not (isinstance(number, str) and number.isdecimal()):
        raise ValueError(f"an option's place is a whole number from 0, not {place!r}")
    if not 0 <= int(number) < len(string.ascii_uppercase):
        raise ValueError(f"there is no option at place {place!r}, counted from 0")
    return string.ascii_uppercase[int(number)]
