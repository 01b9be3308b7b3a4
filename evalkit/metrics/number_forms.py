r"""How numbers are written: digits, fractions, powers of ten, words, in English, Chinese and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
)
_ONES += "seventeen eighteen nineteen"
_SMALL = {word: value for value, word in enumerate(_ONES.split())}
_TENS = {
    word: 10 * value
    for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)  # noqa: SIM905
}
_CHINESE = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_VULGAR = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅛": (1, 8)}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_FULL_WIDTH = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | dict.fromkeys("−‒﹣", "-")
)
_DIGITS = r"(?:\d{1,3}(?:(?:,|\{,\}|\\,|[\u00a0\u2009\u202f'’])\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_POWER = (
    r"(?:[eE][-+]?\d+(?!\w)|\s*(?:×|x|\*|\\times|\\cdot|·)\s*10\s*(?:\^\s*\{?\s*[-+]?\d+\s*\}?|[⁻⁰¹²³⁴-⁹]+))"
)
_FRACTION = r"\\[dtc]?frac\s*(?:\{\s*-?[\d.]+\s*\}\s*\{\s*[\d.]+\s*\}|\d\s*\d)"
_BELOW_100 = (
    rf"(?:(?:{'|'.join(_TENS)})(?:[-\s](?:{'|'.join(list(_SMALL)[1:10])}))?|{'|'.join(reversed(_SMALL))})"
)
_BELOW_1000 = (
    rf"(?:(?:{'|'.join(list(_SMALL)[1:])})\s+hundred(?:\s+(?:and\s+)?{_BELOW_100}(?!\s+hundred))?"
    rf"|{_BELOW_100})"
)
WORDS = (
    rf"(?:{_BELOW_1000}\s+thousand(?:,?\s+(?:and\s+)?{_BELOW_1000}(?!\s+thousand))?|{_BELOW_1000})"
    r"(?!\s+(?:hundred|thousand|[mb]illion|trillion|dozen))"
)
_HAN = (
    r"[零〇一二两三四五六七八九十百]{1,7}"
    r"(?=[个只条辆人张块岁年天元米%％度本支根件种次台艘座棵朵倍名位。，.,\s]|\Z)"
)
FORM = rf"(?<![\d.])[-+]?\s*+(?:\\[$€£¥₹]?\s*+|[$€£¥₹]\s*+)?(?:{_DIGITS}|{_FRACTION}|\b{WORDS}\b|{_HAN})"
NUMBER = re.compile(
    rf"(?P<sign>(?<![\w.)\]}}])[-–+]\s?|\b(?:negative|minus)\s+|负)?(?:\\?[$€£¥₹]|\bUS\$|\bRs\.?)?\s*(?P<late>-)?"
    rf"(?:(?P<whole>\d+)?\s*(?P<fraction>{_FRACTION})"
    rf"|(?:(?P<mixed>\d+)\s+)?(?P<over>\d+)\s*/\s*(?P<under>[1-9]\d*)(?!\d|/|\.\d)"
    rf"|(?P<before>\d*)\s?(?P<vulgar>[{''.join(_VULGAR)}])"
    rf"|(?P<ten>10)\s*\^\s*\{{?\s*(?P<exponent>[-+]?\d+)\s*\}}?"
    rf"|(?P<digits>{_DIGITS})(?P<power>{_POWER})?"
    rf"|\b(?P<words>{WORDS})\b|(?P<han>{_HAN}))",
    re.IGNORECASE,
)
# Before these, digits are part of a name, an index or a power.
_BOUND_LEFT = re.compile(
    r"(?:[A-Za-zÀ-ÿ\d\^_#]|\d[.,/:]|\\sqrt\{?|√|[\^_]\{\s*-?"
    r"|(?:\b(?:step|fig(?:ure)?|table|question|image|picture|option|part|page|case|section|equation|eq|no|example"
    r"|method|level|grade)s?\.?|第)\s*)\Z",
    re.IGNORECASE,
)
_BOUND_RIGHT = re.compile(r"(?:st|nd|rd|th)\b|[dD]\b|\.\d|/\d|_")
_IDIOM = re.compile(
    r"(?:\b(?:this|that|the|each|every|any|no|which|another|first|last)|by)\s+one\b"
    r"|\bone\s+(?:of|by|another|can|must|or)\b",
    re.IGNORECASE,
)
_DATED = re.compile(
    r"\b(?:in|since|from|by|during|year|of|for|and|to|between|until)\s+(?:the\s+year\s+)?\Z|[('‘]\Z",
    re.IGNORECASE,
)
_DECADE = re.compile(r"\b(?:his|her|their|the|early|mid|late)[-\s]+\d*0'?s\b", re.IGNORECASE)
_REFERRED = re.compile(r"\b(?:the|these|those|both|all|its|other|my|first|last)\s+\Z", re.IGNORECASE)

_A_NOUN = re.compile(r"\s+[A-Za-z]")

_NEAR = 60  # characters before a number that are looked at


@dataclass(frozen=True)
class Number:
    """A number in a text: its ``value`` as ``float`` reads it, and where it stands. ``passing``: a date, or
    a count of what the text is about ("the two charts").
    """

    value: str
    start: int
    end: int
    passing: bool = False


def plain(text: str) -> str:
    r"""A text with full-width characters and every minus sign in ASCII, without LaTeX's spacing and long
    white space.

    >>> plain("−５ \\mathrm{cm}")
    '-5 \\mathrm{cm}'
    """
    text = re.sub(r"\n(?:\s?\n)+", "\n\n", re.sub(r"[^\S\n]+", " ", text.translate(_FULL_WIDTH)))
    text = re.sub(r"\\(?:left|right|displaystyle)\b|\\[!;:]|(?<!\\)\\ ", " ", text)
    text = re.sub(r"<\s*([-+]?[\d.,]+)\s*>", r"\1", text)
    return re.sub(r"(?<=\d)\{,\}(?=\d{3})", ",", text)


def numbers_in(text: str) -> Iterator[Number]:
    """The numbers of a text in order."""
    for found in NUMBER.finditer(text):
        body = found[0].lstrip()
        start = found.end() - len(body)
        before = text[max(0, start - _NEAR) : start]
        if not found["words"] and not found["han"] and _BOUND_LEFT.search(before):
            continue
        if _BOUND_RIGHT.match(text, found.end()):
            continue
        if _DECADE.search(text[max(0, start - 6) : found.end() + 2]):
            continue
        if body.lower() == "one" and _idiom(text, found.start(), found.end()):
            continue
        try:
            value = value_of(found)
        except (ValueError, OverflowError):  # "\\frac{1.2.3}{4}", or thousands of digits
            value = "nan"
        yield Number(value, start, found.end(), _passing(text, before, value, found.end()))


def _idiom(text: str, start: int, end: int) -> bool:
    around = text[max(0, start - 12) : end + 10]
    return _IDIOM.search(around) is not None


def _passing(text: str, before: str, value: str, end: int) -> bool:
    if re.fullmatch(r"(?:1[5-9]|20)\d\d", value) and _DATED.search(before):
        return True
    return bool(_REFERRED.search(before)) and _A_NOUN.match(text, end) is not None


def value_of(found: re.Match[str]) -> str:
    """The value of a match of :data:`NUMBER`."""
    negative = bool(found["sign"] and found["sign"].strip() != "+") != bool(found["late"])
    sign = "-" if negative else ""
    if found["digits"]:
        digits = re.sub(r"(?<=\d)(?:,|\{,\}|\\,|[\u00a0\u2009\u202f'’])(?=\d)", "", found["digits"])
        return sign + digits + _power(found["power"])
    if found["ten"]:
        return f"{sign}1e{int(found['exponent'])}"
    if found["words"]:
        return sign + str(_spelled(found["words"].lower()))
    if found["han"]:
        return sign + str(_han(found["han"]))
    return sign + _fraction(found)


def _power(text: str | None) -> str:
    if not text:
        return ""
    if text[0] in "eE":
        return text.lower()
    exponent = text.translate(_SUPERSCRIPTS).rpartition("10")[2]
    return f"e{int(re.sub(r'[^-+0-9]', '', exponent))}"


def _fraction(found: re.Match[str]) -> str:
    if found["vulgar"]:
        whole, (over, under) = found["before"] or "0", _VULGAR[found["vulgar"]]
        return _decimal(float(whole) + over / under)
    if found["over"]:
        return _decimal(float(found["mixed"] or 0) + int(found["over"]) / int(found["under"]))
    parts = re.findall(r"-?[\d.]+", found["fraction"])
    above, below = map(float, parts if len(parts) == 2 else parts[0])
    return _decimal(float(found["whole"] or 0) + above / below) if below else "nan"


def _decimal(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _spelled(words: str) -> int:
    """Two thousand and twenty-one is 2021."""
    total, current = 0, 0
    for word in re.findall(r"[a-z]+", words):
        if word == "thousand":
            total, current = 1000 * current, 0
        else:
            current = 100 * current if word == "hundred" else current + _TENS.get(word, _SMALL.get(word, 0))
    return total + current


def _han(text: str) -> int:
    """二十三 is 23, 三百 is 300, 二三 is 23."""
    total, current = 0, 0
    scaled = "十" in text or "百" in text
    for character in text:
        scale = {"十": 10, "百": 100}.get(character)
        if scale:
            total, current = total + (current or 1) * scale, 0
        else:
            current = (0 if scaled else current * 10) + _CHINESE[character]
    return total + current
