"""How the authors of single benchmarks read an option's letter out of an answer.

Each function takes the text and the options (letter to text) and returns the letter, or None. The
rules are those of the published scripts, odd ones included, so that published scores are
reproduced; where a script asks a language model, :func:`.choice_reading.read_choice` stands in for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from evalkit.metrics.choice_reading import ChoiceReading, read_choice

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
# VLMEvalKit's list of answers that refuse to choose.
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
# How VLMEvalKit finds the letter of a sentence; nothing need end after it ("the answer is about" gives A).
_MMBENCH_ANSWER = re.compile(r"answer\s+is\s+\**([ABCD])", re.IGNORECASE)
_FAILED = "Failed to obtain answer via API"


def video_mme(text: str, options: Mapping[str, str]) -> str | None:
    """Video-MME: certain phrases are deleted, then the first of the letters A to D counts
    (``eval_your_results.py``, commit afd52cf).

    >>> video_mme("Best answer: D", {}), video_mme("c", {})
    ('B', None)
    """
    text = text.strip()
    for prefix in _VIDEO_MME_PREFIXES:
        text = text.replace(prefix, "")
    found = re.search("[ABCD]", text)
    return found[0] if found else None


def mmstar(text: str, options: Mapping[str, str]) -> str | None:
    """MMStar: the first letter, or the one after ``(``, ``option`` or ``the answer is``, in any
    case (``mmstar.py``, commit 88f243a).

    >>> mmstar("(b) a dog", {}), mmstar("The answer is C.", {}), mmstar("I think D", {})
    ('B', 'C', None)
    """
    plain = text.lower().strip().replace("\n", " ")
    for start in ("the answer is ", "option ", "("):
        if plain.startswith(start) and plain[len(start) : len(start) + 1] in tuple("abcd"):
            return plain[len(start)].upper()
    return plain[0].upper() if plain[:1] in tuple("abcd") else None


def blink(text: str, options: Mapping[str, str]) -> str | None:
    r"""BLINK: a bare letter, or the only ``(X)`` between spaces in the text or in its last
    paragraph (``test_benchmark.py``, commit 2d6a779); else what stands in for GPT-3.5.

    >>> blink("B", {}), blink("First (A), but then \n\n (B) is closer", {}), blink("It is (C).", {})
    ('B', 'B', 'C')
    """
    return blink_reading(text, options).letter


def blink_reading(text: str, options: Mapping[str, str]) -> ChoiceReading:
    """What :func:`blink` reads, with the rule: ``blink``, or that of what stands in for GPT-3.5."""
    letters = list(options) or list("ABCDE")
    if text in letters or (len(text) == 3 and text[1] in letters and text == f"({text[1]})"):
        return ChoiceReading(text.strip("()"), "blink")
    for part in (text.split("\n\n")[-1], text):
        found = {f"({letter})" for letter in letters} & set(part.split())
        if len(found) == 1:
            return ChoiceReading(found.pop()[1], "blink")
    return read_choice(text, options or dict.fromkeys(letters, ""))


def lvbench(text: str, options: Mapping[str, str]) -> str | None:
    """LVBench: the first character of what stands before the first ``)``, and after the first
    ``(`` if there is one (``answer_util.py``, commit f998d95); any character, in any case.

    >>> lvbench("(C) a dog", {}), lvbench("B) a cat", {}), lvbench("The answer", {}), lvbench(" ", {})
    ('C', 'B', 'T', None)
    """
    part = text.strip().split(")")[0].strip()
    if "(" in part:
        part = part.split("(")[1].strip()
    return part.split(" ")[0][:1] or None


def mmbench(text: str, options: Mapping[str, str]) -> str | None:
    """MMBench as VLMEvalKit reads it without a language model (``can_infer``, commit e8e78f0): the
    only option letter that stands alone, if it is one of the last five words; else the letter after the
    first "answer is", whatever follows it; else the only option whose text is in an answer that isn't
    much longer than all options. ``Z`` is a refusal.

    >>> options = {"A": "a dog", "B": "a cat"}
    >>> mmbench("(B)", options), mmbench("it is A Dog", options), mmbench("A or B", options)
    ('B', 'A', None)
    >>> mmbench("The answer is **B** and not A, which is a dog that can't be seen.", options)
    'B'
    """
    if _FAILED in text:
        return _named(text, options)
    return _alone(text, options) or _after_answer_is(text, options) or _named(text, options)


def _alone(text: str, options: Mapping[str, str]) -> str | None:
    if any(refusal in text for refusal in _REFUSALS):
        return "Z"
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", text).split()
    found = [letter for letter in options if letter in words]
    if len(found) == 1 and words.index(found[0]) > len(words) - 5:
        return found[0]
    return "Z" if not found and "Z" in words else None


def _after_answer_is(text: str, options: Mapping[str, str]) -> str | None:
    found = _MMBENCH_ANSWER.search(text)
    letter = found[1].upper() if found else None
    return letter if letter in options else None


def _named(text: str, options: Mapping[str, str]) -> str | None:
    lowered = text.lower()
    if len(lowered) > 2 * sum(map(len, options.values())):
        return None
    found = [letter for letter, option in options.items() if option.lower() in lowered]
    return found[0] if len(found) == 1 else None
