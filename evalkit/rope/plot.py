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

COLOURS = {"t": "#d1495b", "h": "#00798c", "w": "#edae49"}
OTHER_COLOURS = ("#66a182", "#8d6a9f", "#2e4057", "#a44a3f", "#5c7fa3", "#c06c84")
SIZES = (4.0, 2.5, 1.2, 1.0, 0.8, 0.6)
"""Of the marks: those of a later axis don't hide those of an earlier one."""
_NONE = "#e6e6e6"


def draw(variants: Sequence[RopeVariant], output: Path) -> None:
    """Draw the variants, one below the other, into an SVG or PNG file: the same bytes every time."""
    figure = Figure(figsize=(11, 1.75 * len(variants)), layout="constrained")
    axes = figure.subplots(len(variants), 2, width_ratios=(3, 2), squeeze=False)
    names: tuple[str, ...] = ()
    for variant, (left, right) in zip(variants, axes, strict=True):
        _positions(left, variant)
        _channels(right, variant)
        if variant.position.axes != names:
            names = variant.position.axes
            left.legend(loc="upper left", ncols=3, fontsize=7, frameon=False)
    axes[-1][0].set_xlabel("token (grey: image, video)", fontsize=8)
    axes[-1][1].set_xlabel("rotary pair, from the highest frequency to the lowest", fontsize=8)
    output.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "evalkit"}):
        figure.savefig(output, dpi=120, metadata={"Date": None} if output.suffix == ".svg" else None)


def _colours(names: Sequence[str]) -> list[str]:
    """Those of time, height and width, and others for axes of other names."""
    others = [name for name in names if name not in COLOURS]
    found = {name: OTHER_COLOURS[number % len(OTHER_COLOURS)] for number, name in enumerate(others)}
    return [(COLOURS | found)[name] for name in names]


def _positions(axes: Any, variant: RopeVariant) -> None:
    found = position_ids(variant.position, SEQUENCE)
    begin = 0
    for segment in SEQUENCE:
        if isinstance(segment, VisualBlock):
            axes.axvspan(begin - 0.5, begin + segment.length - 0.5, color="#f2f2f2", zorder=0)
        begin += segment.length
    names = variant.position.axes
    for axis, (name, colour) in enumerate(zip(names, _colours(names), strict=True)):
        axes.plot(found.ids[axis], ".", markersize=SIZES[axis % len(SIZES)], color=colour, label=name)
    axes.set_title(str(variant), fontsize=9, loc="left")
    axes.tick_params(labelsize=7)


def _channels(axes: Any, variant: RopeVariant) -> None:
    axis_map = np.atleast_2d(variant.axis_map(PAIRS, KV_HEADS))
    colours = ListedColormap([_NONE, *_colours(variant.position.axes)])
    axes.imshow(axis_map, cmap=colours, vmin=-1, vmax=colours.N - 2, aspect="auto", interpolation="nearest")
    axes.set_yticks([] if len(axis_map) == 1 else range(0, len(axis_map), 2))
    axes.set_ylabel("" if len(axis_map) == 1 else "KV head", fontsize=7)
    axes.tick_params(labelsize=7)
