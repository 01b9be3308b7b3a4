"""Points in answers: does a click land in the element (ScreenSpot)?"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.metrics.base import Answer, Score, Scored, mean_by_group
from evalkit.metrics.boxes import NUMBER, TAGS, NoBox, check_box, parse_box, reference_box, to_original

_POINT = re.compile(rf"[(\[<]\s*({NUMBER})\s*(?:,|\s)\s*({NUMBER})\s*[)\]>]")
_BARE = re.compile(rf"\s*({NUMBER})(?:\s*,\s*|\s+)({NUMBER})\s*")
_MARKUP = re.compile(r"</?(?:point|points|click)\b[^>]*>")


@dataclass(frozen=True)
class PointInBox:
    """Share of answers whose point, or whose box's centre, lies in the reference box.

    The reference is ``[x1, y1, x2, y2]`` in pixels of the original image; coordinates are read in the
    convention that ``answer.box_space`` names, as for boxes.

    >>> answer = Answer("(500, 500)", [0, 0, 400, 300], image_size=(640, 480), box_space="norm1000")
    >>> PointInBox().score(answer).value
    1.0
    """

    name: str = "acc"
    range: tuple[float, float] = (0.0, 1.0)

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
        except NoBox as problem:
            return Score(0.0, parse_error=str(problem))
        x, y, _, _ = to_original((across, down, across, down), *convention)
        return Score(float(left <= x <= right and top <= y <= bottom), parsed=[x, y])

    def check(self, answer: Answer) -> None:
        """See :class:`~evalkit.metrics.base.ReferenceCheck`."""
        check_box(answer.reference)

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Mean over all answers and over every label of every group."""
        return mean_by_group(self.name, items)


def parse_point(text: str) -> tuple[float, float]:
    """The point that a text gives, or the centre of the box that it gives, in its own coordinates.

    Raises:
        NoBox: there is neither, or several different points.

    >>> parse_point('{"point_2d": [10, 20], "label": "OK"}'), parse_point("<box>(10,20),(30,40)</box>")
    ((10.0, 20.0), (20.0, 30.0))
    """
    plain = _MARKUP.sub(" ", text)
    try:
        x1, y1, x2, y2 = parse_box(plain)
    except NoBox:
        pass
    else:
        return ((x1 + x2) / 2, (y1 + y2) / 2)
    bare = _BARE.fullmatch(plain)
    points = [bare.groups()] if bare else [found.groups() for found in _POINT.finditer(TAGS.sub(" ", plain))]
    different = {(float(x), float(y)) for x, y in points}
    if not all(math.isfinite(number) for point in different for number in point):
        raise NoBox("a coordinate is not finite")
    if len(different) != 1:
        raise NoBox(
            f"{len(different)} different points in the answer" if different else "no point in the answer"
        )
    return different.pop()
