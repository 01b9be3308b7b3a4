"""Reads points from answers, and accuracy of points in a box (ScreenSpot)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from evalkit.metrics.base import Answer, MeanMetric, NoReading, Score
from evalkit.metrics.boxes import check_box, reference_box, to_original
from evalkit.metrics.coordinates import ANSWER, NUMBER, TAGS, ascii_of, parse_box

_POINT = re.compile(rf"[(\[<{{]\s*(?P<x>{NUMBER})(?:\s*+,\s*+|\s++)(?P<y>{NUMBER})\s*[)\]>}}](?!\s*%)")
# {"x": 10, "y": 20}, click(x=10, y=20)
_NAMED = re.compile(
    rf"(?<![\w])[\"']?x[\"']?\s*[=:]\s*(?P<x>{NUMBER})(?:\s*,|\s+and|\s)\s*[\"']?y[\"']?\s*[=:]\s*(?P<y>{NUMBER})(?!\s*%|\d)",
    re.IGNORECASE,
)
_SIZED = re.compile(r"[\"']?\b(?:width|height|w|h|radius)\b[\"']?\s*[=:]", re.IGNORECASE)
_BARE = re.compile(
    r"[\s*`:]*(?:(?:the|final|answer|coordinates?|points?|position|location|click|is|are|at)\b[\s:=*]*)*"
    rf"(?P<x>{NUMBER})(?:\s*,\s*|\s+)(?P<y>{NUMBER})\s*+(?:\.\s*+)?",
    re.IGNORECASE,
)
# "point" is y first, in thousandths, as Gemini writes it, and x first as others do.
_OTHER_ORDER = re.compile(r"[\"']point[\"']\s*:\s*\[|\b[yY]\s*,\s*[xX]\b")
_MARKUP = re.compile(r"</?(?:point|points|click)\b[^>]*>")


@dataclass(frozen=True)
class PointInBox(MeanMetric):
    """Share of answers whose point, or whose box's centre, lies in the reference box.

    The reference is ``[x1, y1, x2, y2]`` in pixels of the original image; coordinates are read in the
    convention that ``answer.box_space`` names, as for boxes.

    >>> answer = Answer("(500, 500)", [0, 0, 400, 300], image_size=(640, 480), box_space="norm1000")
    >>> PointInBox().score(answer).value
    1.0
    """

    name: str = "acc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer.

        Raises:
            ValueError: the reference is no box, ``box_space`` is unknown, or a size that it
                needs is missing.
        """
        left, top, right, bottom = reference_box(answer.reference)
        convention = (answer.box_space, answer.image_size, answer.input_size)
        to_original((0.0, 0.0, 0.0, 0.0), *convention)  # complains before anything depends on the text
        try:
            across, down = parse_point(answer.prediction)
        except NoReading as problem:
            return Score(0.0, parse_error=str(problem))
        x, y, _, _ = to_original((across, down, across, down), *convention)
        return Score(float(left <= x <= right and top <= y <= bottom), parsed=[x, y])

    def check(self, answer: Answer) -> None:
        """See :class:`~evalkit.metrics.base.ReferenceCheck`."""
        check_box(answer.reference)


def parse_point(text: str) -> tuple[float, float]:
    """The point that a text gives, or the centre of the box that it gives, in its own coordinates.

    Raises:
        NoReading: there is neither, or several different points, or maybe y first.

    >>> parse_point('{"point_2d": [10, 20], "label": "OK"}'), parse_point("<box>(10,20),(30,40)</box>")
    ((10.0, 20.0), (20.0, 30.0))
    """
    plain = ascii_of(text)
    if _OTHER_ORDER.search(plain):
        raise NoReading("the two numbers may be y first")
    closed = plain.rfind(">") + 1  # so that no tag is looked for without end
    plain = _MARKUP.sub(" ", plain[:closed]) + plain[closed:]
    try:
        x1, y1, x2, y2 = parse_box(plain)
    except NoReading:
        pass
    else:
        return ((x1 + x2) / 2, (y1 + y2) / 2)
    plain = TAGS.sub(" ", plain)
    stated = [found.end() for found in ANSWER.finditer(plain)]
    different = _points(plain[stated[-1] :]) if stated else set()
    different = different or _points(plain)
    if not all(math.isfinite(number) for point in different for number in point):
        raise NoReading("a coordinate is not finite")
    if len(different) != 1:
        raise NoReading(
            f"{len(different)} different points in the answer" if different else "no point in the answer"
        )
    return different.pop()


def _points(text: str) -> set[tuple[float, float]]:
    """The different points of a text."""
    bare = _BARE.fullmatch(text)
    found = [bare] if bare else list(_POINT.finditer(text))
    if not _SIZED.search(text):  # else it is the corner of a box
        found += _NAMED.finditer(text)
    return {(float(each["x"]), float(each["y"])) for each in found}
