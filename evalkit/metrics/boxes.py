"""Bounding boxes in answers: reading them, and accuracy at an IoU threshold (RefCOCO)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from evalkit.metrics.base import (
    Answer,
    MeanMetric,
    NoReading,
    Score,
    Scored,
    breakdown_means,
    mean_with_breakdown,
)
from evalkit.metrics.coordinates import Box, parse_box

BOX_SPACES = ("abs", "abs_resized", "norm1000", "norm999", "norm1")
_UNITS = {"norm1000": 1000.0, "norm999": 999.0, "norm1": 1.0}

_LARGEST = 10**12  # whole numbers beyond the range of floats can't be reckoned with


@dataclass(frozen=True)
class BoxAccuracy(MeanMetric):
    """Share of answers whose box overlaps the reference with an IoU of at least ``threshold``.

    The reference is ``[x1, y1, x2, y2]`` in pixels of the original image. The coordinates of a
    prediction are read in the convention that ``answer.box_space`` names and never guessed from
    their size. An answer without a readable box, or with inverted corners, is wrong and counted
    as a parse failure, as in the official evaluations of Qwen-VL and InternVL, where such boxes
    have no overlap with anything.

    >>> answer = Answer("[0, 0, 500, 1000]", [0, 0, 320, 480], image_size=(640, 480), box_space="norm1000")
    >>> BoxAccuracy().score(answer).detail
    {'iou': 1.0}
    """

    threshold: float = 0.5

    @property
    def name(self) -> str:
        """``acc@0.5``, for a threshold of 0.5."""
        return f"acc@{self.threshold:g}"

    def score(self, answer: Answer) -> Score:
        """Judge one answer.

        Raises:
            ValueError: the reference is no box, ``box_space`` is unknown, or a size that it
                needs is missing.
        """
        reference = reference_box(answer.reference)
        convention = (answer.box_space, answer.image_size, answer.input_size)
        to_original((0.0, 0.0, 0.0, 0.0), *convention)  # complains before anything depends on the text
        try:
            box = to_original(parse_box(answer.prediction), *convention)
        except NoReading as problem:
            return Score(0.0, parse_error=str(problem), detail={"iou": 0.0})
        if box[2] < box[0] or box[3] < box[1]:
            return Score(0.0, parsed=list(box), parse_error="corners are inverted", detail={"iou": 0.0})
        overlap = iou(box, reference)
        return Score(float(overlap >= self.threshold), parsed=list(box), detail={"iou": overlap})

    def check(self, answer: Answer) -> None:
        """See :class:`~evalkit.metrics.base.ReferenceCheck`."""
        check_box(answer.reference)

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Accuracy, then mean IoU (``iou``; 0 where there is no box), each with its breakdown."""
        overlaps = breakdown_means("iou", items, lambda score: score.detail.get("iou"))
        return {**mean_with_breakdown(self.name, items), **overlaps}

    def file_figures(
        self, answers: Sequence[Answer], scores: Sequence[Score], seed: int | None
    ) -> dict[str, float]:
        """``qwen_vl_acc@...``: answers in ``norm1000`` as Qwen-VL's own script judges them.

        It divides by 999 where Qwen2-VL and InternVL divide by 1000. Models of either kind write
        the same ``<box>(x1,y1),(x2,y2)</box>``, so both readings are given, each by its name.
        """
        read = [replace(answer, box_space="norm999") for answer in answers if answer.box_space == "norm1000"]
        items = [Scored(self.score(answer), answer.groups) for answer in read]
        return mean_with_breakdown(f"qwen_vl_{self.name}", items) if items else {}


def to_original(
    box: Box, space: str | None, image_size: tuple[int, int] | None, input_size: tuple[int, int] | None
) -> Box:
    """Convert a box to pixels of the original image; sizes are ``(width, height)``.

    ``abs`` needs no size, ``abs_resized`` both, the others the size of the original.

    Raises:
        ValueError: the convention is unknown, or a size that it needs is missing.

    >>> to_original((14, 28, 42, 56), "abs_resized", (640, 480), (28, 56))
    (320.0, 240.0, 960.0, 480.0)
    """
    if space == "abs":
        return box
    if space not in _UNITS and space != "abs_resized":
        raise ValueError(f"box_space {space!r} is none of {', '.join(BOX_SPACES)}")
    if image_size is None:
        raise ValueError(f"boxes in {space} need the image_size")
    if space == "abs_resized" and input_size is None:
        raise ValueError("boxes in abs_resized need the input_size, which the model saw")
    across, down = input_size if space == "abs_resized" and input_size else (_UNITS[space],) * 2
    width, height = image_size
    x1, y1, x2, y2 = box
    return (x1 / across * width, y1 / down * height, x2 / across * width, y2 / down * height)


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes ``(x1, y1, x2, y2)``, without the +1 of pixel counts.

    >>> round(iou((0, 0, 10, 10), (0, 5, 10, 15)), 6)
    0.333333
    """
    import numpy as np
    from pycocotools import mask

    cornered = np.asarray([first, second], dtype=np.float64)
    sized = np.concatenate([cornered[:, :2], cornered[:, 2:] - cornered[:, :2]], axis=1)
    overlap = float(mask.iou(sized[:1], sized[1:], [0])[0, 0])
    return overlap if math.isfinite(overlap) else 0.0  # areas beyond the range of floats


def reference_box(value: Any) -> Box:
    """The reference as a box.

    Raises:
        ValueError: it is none.
    """
    numbers = list(value) if isinstance(value, list | tuple) else []
    if len(numbers) != 4 or not all(map(_is_number, numbers)):
        raise ValueError(f"the reference must be a box [x1, y1, x2, y2], not {value!r}")
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"the reference box {value!r} is not finite")
    return (numbers[0], numbers[1], numbers[2], numbers[3])


def check_box(value: Any) -> None:
    """Raise unless a reference is a box that has an area.

    Raises:
        ValueError: it is no box, its corners are inverted, or there is nothing between them.
    """
    left, top, right, bottom = reference_box(value)
    if right <= left or bottom <= top:
        raise ValueError(f"the reference box {value!r} has no area, or inverted corners ([x1, y1, x2, y2])")


def _is_number(value: Any) -> bool:
    if isinstance(value, int) and abs(value) > _LARGEST:
        return False
    return isinstance(value, int | float) and not isinstance(value, bool)
