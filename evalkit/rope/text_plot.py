"""A variant as text: its positions on a short sequence, and which axis each rotary pair follows."""

from __future__ import annotations

import numpy as np

from evalkit.rope.layout import Segment, TextRun, VisualBlock
from evalkit.rope.positions import position_ids
from evalkit.rope.variant import RopeVariant

EXAMPLE: tuple[Segment, ...] = (
    TextRun(3),
    VisualBlock((1, 2, 3)),
    TextRun(2),
    VisualBlock((2, 2, 2), seconds_per_grid=1.0),
    TextRun(2),
)
"""Three words, an image of 2 x 3 tokens, two words, a video of two frames of 2 x 2, two words."""

PAIRS, KV_HEADS = 64, 8
"""Of the models in the paper's appendix (head size 128)."""


def positions_text(variant: RopeVariant) -> str:
    """One column per token of :data:`EXAMPLE`, one line per axis."""
    found = position_ids(variant.position, EXAMPLE)
    kinds: list[str] = []
    for segment in EXAMPLE:
        name = "." if isinstance(segment, TextRun) else ("V" if segment.seconds_per_grid else "I")
        kinds += [name] * segment.length
    lines = [("token", [*kinds, "next"])]
    axes = variant.position.axes
    for number, (ids, next_position) in enumerate(zip(found.ids, found.next_position, strict=True)):
        axis = axes[number % len(axes)] + ("" if number < len(axes) else " (other layers)")
        lines.append((axis, [_short(value) for value in (*ids, next_position)]))
    width = max(len(cell) for _, cells in lines for cell in cells)
    title = max(len(name) for name, _ in lines)
    return "\n".join(
        f"{name.ljust(title)}  {' '.join(cell.rjust(width) for cell in cells)}" for name, cells in lines
    )


def channels_text(variant: RopeVariant) -> str:
    """The axis of every rotary pair, from the highest frequency to the lowest, by its initial (its number
    where axes share one); ``.``: the pair is not rotated.
    """
    axes = variant.axis_map(PAIRS, KV_HEADS)
    marks = [name[0].upper() for name in variant.position.axes]
    if len(set(marks)) < len(marks):
        marks = [str(number % 10) for number in range(len(marks))]
    lines = ["".join([*marks, "."][axis] for axis in pairs) for pairs in np.atleast_2d(axes)]
    if axes.ndim == 1:
        return lines[0]
    return "\n".join(f"kv head {head}  {line}" for head, line in enumerate(lines))


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
