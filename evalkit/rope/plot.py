"""Figures of variants: positions over a short sequence, and the channel map (needs matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from evalkit.rope.layout import Segment, TextRun, VisualBlock
from evalkit.rope.positions import position_ids
from evalkit.rope.text_plot import KV_HEADS, PAIRS
from evalkit.rope.variant import RopeVariant

SEQUENCE: tuple[Segment, ...] = (
    TextRun(8),
    VisualBlock((1, 5, 7)),
    TextRun(6),
    VisualBlock((4, 3, 4), seconds_per_grid=1.0),
    TextRun(8),
)
"""Text, an image of 5 x 7 tokens, text, a video of 4 x 3 x 4, text."""

COLOURS = ("#d1495b", "#00798c", "#edae49", "#66a182", "#8d6a9f", "#2e4057")
SIZES = (4.0, 2.5, 1.2, 1.0, 0.8, 0.6)
"""Of the marks: those of a later axis don't hide those of an earlier one."""
_NONE = "#e6e6e6"


def draw(variants: Sequence[RopeVariant], output: Path) -> None:
    """Draw the variants, one below the other, into an SVG or PNG file: the same bytes every time."""
    figure = Figure(figsize=(11, 1.75 * len(variants)), layout="constrained")
    axes = figure.subplots(len(variants), 2, width_ratios=(3, 2), squeeze=False)
    for variant, (left, right) in zip(variants, axes, strict=True):
        _positions(left, variant)
        _channels(right, variant)
    axes[0][0].legend(loc="upper left", ncols=3, fontsize=7, frameon=False)
    axes[-1][0].set_xlabel("token (grey: image, video)", fontsize=8)
    axes[-1][1].set_xlabel("rotary pair, from the highest frequency to the lowest", fontsize=8)
    output.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "evalkit"}):
        figure.savefig(output, dpi=120, metadata={"Date": None} if output.suffix == ".svg" else None)


def _positions(axes: Any, variant: RopeVariant) -> None:
    found = position_ids(variant.position, SEQUENCE)
    begin = 0
    for segment in SEQUENCE:
        if isinstance(segment, VisualBlock):
            axes.axvspan(begin - 0.5, begin + segment.length - 0.5, color="#f2f2f2", zorder=0)
        begin += segment.length
    for axis, name in enumerate(variant.position.axes):
        colour, size = COLOURS[axis % len(COLOURS)], SIZES[axis % len(SIZES)]
        axes.plot(found.ids[axis], ".", markersize=size, color=colour, label=name)
    axes.set_title(str(variant), fontsize=9, loc="left")
    axes.tick_params(labelsize=7)


def _channels(axes: Any, variant: RopeVariant) -> None:
    axis_map = np.atleast_2d(variant.axis_map(PAIRS, KV_HEADS))
    count = len(variant.position.axes)
    colours = ListedColormap([_NONE, *(COLOURS[axis % len(COLOURS)] for axis in range(count))])
    axes.imshow(axis_map, cmap=colours, vmin=-1, vmax=count - 1, aspect="auto", interpolation="nearest")
    axes.set_yticks([] if len(axis_map) == 1 else range(0, len(axis_map), 2))
    axes.set_ylabel("" if len(axis_map) == 1 else "KV head", fontsize=7)
    axes.tick_params(labelsize=7)
