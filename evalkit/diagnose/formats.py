"""What an answer looks like: its format and its script."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

FORMATS = ("number", "letter", "structure", "words", "sentence", "long", "signs")
"""A number; a letter, as of an option; brackets, as of a box or JSON; up to 4 words; up to 60; more; none."""

_NUMBER = re.compile(r"[-+$€£]?\s?\d[\d.,:/\s]*\s?[%°]?")
_LETTER = re.compile(r"\(?[A-Za-z]\)?[.:]?")
_SHORT, _LONG = 4, 60
_ENOUGH, _CLEAR = 8, 0.8


def format_of(text: str) -> str:
    """One of :data:`FORMATS`.

    >>> [format_of(each) for each in ("-3.5%", "(B)", "[1, 2]", "blue car", "It is on the left.", "?!")]
    ['number', 'letter', 'structure', 'words', 'sentence', 'signs']
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return "number"
    if _LETTER.fullmatch(text):
        return "letter"
    if text[:1] in "[{(<" and text[-1:] in "]})>":
        return "structure"
    count = _count(text)
    if count == 0:
        return "signs"
    return "words" if count <= _SHORT else "sentence" if count <= _LONG else "long"


def _count(text: str) -> int:
    """Words; of scripts that are written without spaces two characters count as one."""
    spaced = sum(1 for word in text.split() if any(map(str.isalnum, word)))
    unspaced = sum(1 for character in text if script_of_letter(character) in ("Han", "Kana", "Thai"))
    return max(spaced, (unspaced + 1) // 2)


@lru_cache(maxsize=4096)
def script_of_letter(character: str) -> str:
    """The script of a letter by its Unicode name; empty for what is no letter."""
    if not character.isalpha():
        return ""
    first = unicodedata.name(character, "").split(" ")[0].split("-")[0]
    named = {"CJK": "Han", "HIRAGANA": "Kana", "KATAKANA": "Kana", "HALFWIDTH": "Kana", "FULLWIDTH": "Latin"}
    return named.get(first, first.capitalize())


def script_of(text: str, enough: int = _ENOUGH) -> str:
    """The script of at least 80% of a text's letters; empty if it has fewer than ``enough``, or none is so
    common. Kana and Han together are one script, Japanese.
    """
    found = Counter(filter(None, map(script_of_letter, text)))
    if found["Kana"]:
        found["Japanese"] = found.pop("Kana") + found.pop("Han", 0)
    total = sum(found.values())
    if total < enough:
        return ""
    name, count = found.most_common(1)[0]
    return name if count >= _CLEAR * total else ""


def change_of_script(text: str) -> tuple[str, str] | None:
    """The scripts of the first and the second half of a text's letters, if they are two different ones; each
    half needs 8 letters, 80% of them of one script.

    >>> change_of_script("The answer is a car. " + "это машина на дороге")
    ('Latin', 'Cyrillic')
    """
    letters = [place for place, character in enumerate(text) if script_of_letter(character)]
    if len(letters) < 2 * _ENOUGH:
        return None
    middle = letters[len(letters) // 2]
    first, second = script_of(text[:middle]), script_of(text[middle:])
    both = {first, second}
    if first == second or "" in both or both == {"Han", "Japanese"}:
        return None
    return first, second
