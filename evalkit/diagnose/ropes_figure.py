"""Figure of compared variants: spectrum, decay and largest positions, a row each (needs matplotlib)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from evalkit.diagnose.consistency import CONTEXTS
from evalkit.diagnose.ropes import DISTANCES, RopeDiagnosis, VariantDiagnosis
from evalkit.rope.positions import PositionDesign

# Told apart in grey too: by lightness, by dashes and by where they stand.
COLOURS = (
    *("#1b1b1b", "#00798c", "#d98c21", "#7a5195", "#66a182"),
    *("#a44a3f", "#5c7fa3", "#c06c84", "#8a8d3f", "#555555"),
)
DASHES: tuple[Any, ...] = (
    *("-", (0, (5, 1.5)), (0, (1.2, 1.2)), "-.", (0, (3, 1, 1, 1, 1, 1))),
    *((0, (8, 2)), (0, (2, 3)), (0, (10, 2, 2, 2)), (0, (4, 4)), (0, (1, 3))),
)
MARKERS = "osD^vP"
_FONT = 7


def draw(found: RopeDiagnosis, output: Path) -> None:
    """Draw all variants that could be laid out into an SVG or PNG file: the same bytes every time."""
    rows = [each for each in found.variants if not each.problem]
    figure = Figure(figsize=(11, 0.9 + 1.35 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 3, width_ratios=(4, 4, 3), squeeze=False)
    names = [layout.name for layout in found.layouts]
    places = _places(rows)
    longest = max(axis.longest for each in rows for axis in each.spectrum)
    for number, (each, (left, middle, right)) in enumerate(zip(rows, axes, strict=True)):
        _spectrum(left, each, places, longest)
        _decay(middle, each, places)
        _growth(right, each, found.head.length)
        for panel in (left, middle, right):
            panel.tick_params(labelsize=_FONT, labelbottom=number == len(rows) - 1)
    for panel, title in zip(
        axes[0],
        ("wavelengths of each axis' pairs", "bound of attention, 1 at distance 0", "largest position"),
        strict=True,
    ):
        panel.annotate(
            title,
            (0.5, 1),
            (0, 16),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    for panel, label in zip(
        axes[-1],
        (
            "positions (log scale)",
            "relative distance on the axis (log scale)",
            f"tokens of context: {', '.join(CONTEXTS)}",
        ),
        strict=True,
    ):
        panel.set_xlabel(label, fontsize=8)
    _legends(figure, places, names)
    output.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "evalkit"}):
        figure.savefig(output, dpi=120, metadata={"Date": None} if output.suffix == ".svg" else None)


def _places(rows: Sequence[VariantDiagnosis]) -> dict[str, int]:
    """A number for each axis' name, the same in every row; those of time, height and width never change."""
    names = [*PositionDesign.axes, *(name for each in rows for name, _ in each.decay)]
    used = {name for each in rows for name, _ in each.decay}
    return {name: place for place, name in enumerate(dict.fromkeys(names)) if name in used}


def _style(place: int) -> dict[str, Any]:
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": DASHES[place % len(DASHES)],
        "linewidth": 1.3,
    }


def _legends(figure: Figure, places: Mapping[str, int], layouts: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], label=f"axis {name}", **_style(place)) for name, place in places.items()]
    marks = [
        Line2D(
            [],
            [],
            color="#444444",
            marker=MARKERS[place % len(MARKERS)],
            linestyle="",
            markersize=4,
            label=name,
        )
        for place, name in enumerate(layouts)
    ]
    figure.legend(handles=[*lines, *marks], loc="outside lower center", ncols=9, fontsize=8, frameon=False)


def _spectrum(panel: Any, each: VariantDiagnosis, places: Mapping[str, int], longest: float) -> None:
    """A bar from the shortest to the longest wavelength of each axis, as high as its resolution, with its
    coverage.
    """
    for row, axis in enumerate(each.spectrum):
        colour = COLOURS[places[axis.axis] % len(COLOURS)]
        width = axis.longest - axis.shortest
        panel.barh(-row, width, 0.15 + 0.7 * axis.resolution, axis.shortest, color=colour)
        panel.text(1.5, -row, f"{axis.coverage:.2f}", fontsize=_FONT, va="center", color="#333333")
    panel.set_xscale("log")
    panel.set_xlim(1.2, 2 * longest)
    panel.set_ylim(-max(2, len(each.spectrum) - 1) - 0.6, 0.6)
    panel.set_yticks([-row for row in range(len(each.spectrum))], [axis.axis for axis in each.spectrum])
    panel.set_title(each.variant, fontsize=9, loc="left", pad=3)


def _decay(panel: Any, each: VariantDiagnosis, places: Mapping[str, int]) -> None:
    for name, curve in each.decay:
        panel.plot(DISTANCES[1:], curve[1:], **_style(places[name]))
    panel.set_xscale("log")
    panel.set_ylim(0, 1.05)


def _growth(panel: Any, each: VariantDiagnosis, length: int) -> None:
    count = len(each.layouts)
    for place, layout in enumerate(each.layouts):
        shift = (place - (count - 1) / 2) * 0.11
        panel.plot(
            [number + shift for number in range(len(layout.largest))],
            list(layout.largest.values()),
            MARKERS[place % len(MARKERS)],
            color="#444444",
            markersize=3.5,
        )
    panel.axhline(length, color="#999999", linewidth=0.8, linestyle="--")
    panel.set_yscale("log")
    panel.set_ylim(500, 500_000)
    panel.set_xlim(-0.5, len(CONTEXTS) - 0.5)
    panel.set_xticks(range(len(CONTEXTS)), list(CONTEXTS))
