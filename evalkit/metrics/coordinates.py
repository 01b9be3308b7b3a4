"""Reads bounding boxes from answers."""

from __future__ import annotations

import math
import re

from evalkit.metrics.base import NoReading
from evalkit.metrics.white_space import collapse_white_space

Box = tuple[float, float, float, float]

NUMBER = r"(?<![\d.])[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_COMMA = r"\s*+,\s*+"
_POINT = rf"[(\[]\s*{NUMBER}{_COMMA}{NUMBER}\s*[)\]]"
_FOUR = rf"{NUMBER}(?:(?:{_COMMA}|\s+){NUMBER}){{3}}"
# Two or more points in a row, or one bracket with four numbers. Nothing else is a box: three
# points or eight numbers are a polygon, a point is a point.
_SHAPE = re.compile(
    rf"(?P<points>{_POINT}(?:\s*+(?:,\s*+)?{_POINT})+)|[\[({{<]\s*(?P<corners>{_FOUR})\s*[\])}}>]"
    # {"x1": 1, "y1": 2, "x2": 3, "y2": 4}
    rf"|\{{(?P<object>\s*+(?:[\"']?[a-z]\w*[\"']?\s*+:\s*+{NUMBER}\s*+(?:,\s*+)?){{4}})\}}",
    re.IGNORECASE,
)
_CORNERS = re.compile(
    rf"(?:top|upper)[-_ ]?left[^()\[\]\d]{{0,40}}(?P<first>{_POINT})[^()\[\]\d]{{0,40}}"
    rf"(?:bottom|lower)[-_ ]?right[^()\[\]\d]{{0,40}}(?P<second>{_POINT})",
    re.IGNORECASE,
)
_BARE = re.compile(
    r"[\s*`:]*(?:(?:the|final|answer|coordinates?|bbox(?:_2d)?|bounding box(?:es)?|box|is|are)\b[\s:=*]*)*"
    rf"(?P<four>{_FOUR})\s*+(?:\.\s*+)?",
    re.IGNORECASE,
)
_KEYS = (
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
)
# Other orders of the four numbers than two corners, x first ("box_2d" is Gemini's: y first, thousandths).
_OTHER_ORDER = re.compile(
    r"\b(?:box_2d|xywh|cxcywh|yxyx|y1x1y2x2|ltwh)\b|\[?\(?\b(?:x|cx|x_?center|left|x1|x_?min)\s*,\s*(?:y|cy|y_?center|top|y1|y_?min)\s*,"
    r"\s*(?:w|width)\b|\by(?:1|_?min)?\s*,\s*x(?:1|_?min)?\s*,",
    re.IGNORECASE,
)
TAGS = re.compile(r"<\|?/?[A-Za-z][\w ]*\|?>")
ANSWER = re.compile(r"\bfinal answer\b|\banswer\s*(?:is\b|:)|答案|\\boxed\s*\{", re.IGNORECASE)
_ASCII = str.maketrans("（）［］【】｛｝，：；−＋％＜＞　", "()[][]{},:;-+%<> ")


def parse_box(text: str) -> Box:
    r"""The first box in a text, in the text's own coordinates.

    Read are ``[x1, y1, x2, y2]`` (also in JSON, ``[[...]]``, parentheses and as NumPy prints it),
    ``(x1,y1),(x2,y2)``, inside or outside of ``<box>`` or ``<|box_start|>`` tags; objects with keys such as
    ``x1``; a top left and a bottom right corner that are called so; and a text of nothing but four numbers.
    Of several boxes the first counts, or the first that follows "final answer".

    Raises:
        NoReading: there is none, or what comes first could mean several things.

    >>> parse_box('```json\n[{"bbox_2d": [1, 2.5, 30, 40], "label": "cat"}]\n```')
    (1.0, 2.5, 30.0, 40.0)
    >>> parse_box("<ref>cat</ref><box>(1,2),(30,40)</box><box>(5,6),(7,8)</box>")
    (1.0, 2.0, 30.0, 40.0)
    """
    # Tags become a word, so that two boxes side by side stay apart.
    plain = TAGS.sub(" ; ", ascii_of(text))
    if _OTHER_ORDER.search(plain):
        raise NoReading("the four numbers are not two corners, x first")
    found = first_after_answer(_SHAPE, plain)
    corners = _CORNERS.search(plain)
    bare = _BARE.fullmatch(plain)
    if corners and not (found and found.start() < corners.start()):
        numbers = _numbers(corners["first"] + corners["second"])
    elif found:
        numbers = _shape(plain, found)
    elif bare:
        numbers = _numbers(bare["four"])
    else:
        raise NoReading("no box in the answer")
    if not all(math.isfinite(number) for number in numbers):
        raise NoReading("a coordinate is not finite")
    return (numbers[0], numbers[1], numbers[2], numbers[3])


def ascii_of(text: str) -> str:
    r"""A text with brackets, commas and signs in ASCII, and without LaTeX's backslashes before brackets.

    >>> ascii_of("\\[（1，−2）\\]")
    '[(1,-2)]'
    """
    text = re.sub(r"\\(?:left|right)\s*(?=[\\()\[\]{}])", "", collapse_white_space(text).translate(_ASCII))
    return re.sub(r"\\(?=[()\[\]{}<>])", "", text)


def first_after_answer(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The first match after the last statement of an answer, else the first of all."""
    stated = [found.end() for found in ANSWER.finditer(text)]
    return (pattern.search(text, stated[-1]) if stated else None) or pattern.search(text)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(NUMBER, text)]


def _shape(text: str, found: re.Match[str]) -> list[float]:
    """The four numbers of a match.

    Raises:
        NoReading: they are more, percentages, or not two corners.
    """
    if re.match(r"\s*%", text[found.end() :]):
        raise NoReading("percentages are not coordinates")
    if found["object"]:
        pairs = re.findall(rf"([A-Za-z]\w*)[\"']?\s*:\s*({NUMBER})", found["object"])
        named = {name.lower().replace("_", ""): float(number) for name, number in pairs}
        for keys in _KEYS:
            if set(named) == set(keys):
                return [named[key] for key in keys]
        raise NoReading("an object without two corners is not a box")
    numbers = _numbers(found[0])
    if len(numbers) == 4:
        return numbers
    # (1,2),(3,4)(5,6),(7,8): commas within boxes and none between them.
    joints = re.findall(r"[)\]]\s*(,?)\s*[(\[]", found[0])
    if joints[0] == "," and joints == [",", ""] * (len(joints) // 2) + [","]:
        return numbers[:4]
    raise NoReading(f"{len(numbers) // 2} points are not a box")
