"""Curves of drawn abilities as a figure that reads in grey, too (needs matplotlib)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from evalkit.report.ability import Ability, AbilityCurve
from evalkit.report.ability_text import number

# Dark to light, so that systems differ in grey; line and mark tell them apart without colour.
_COLOURS = ("#14143a", "#9c2f3c", "#3f9b78", "#dca63a", "#4a5bd0", "#8a8a8a", "#8d3fb0", "#4fb3d3")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 3)))
_MARKS = "osD^vPX*"
_ACROSS = 3
_CHANCE = "chance"


def draw(abilities: Sequence[Ability], output: Path) -> None:
    """Draw a panel for each ability into an SVG, PNG or PDF file: the same bytes every time."""
    across = min(_ACROSS, len(abilities))
    down = math.ceil(len(abilities) / across)
    figure = Figure(figsize=(4.4 * across, 3.1 * down + 0.6), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flat
    arms = list(dict.fromkeys(curve.arm for found in abilities for curve in found.curves))
    lines: dict[str, Any] = {}
    for panel, found in zip(panels, abilities, strict=False):
        lines |= _panel(panel, found, arms)
    for panel in list(figure.axes)[len(abilities) :]:
        panel.remove()
    shown = [*arms, _CHANCE]
    figure.legend([lines[name] for name in shown], shown, loc="outside lower center", ncols=4, frameon=False)
    output.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "evalkit"}):
        metadata = {"Date": None} if output.suffix == ".svg" else None
        figure.savefig(output, dpi=130, metadata=metadata)


def _panel(axes: Any, found: Ability, arms: Sequence[str]) -> dict[str, Any]:
    levels = sorted({each.level for curve in found.curves for each in curve.levels})
    places = {level: place for place, level in enumerate(levels)}
    chance = {each.level: each.chance for curve in found.curves for each in curve.levels}
    drawn = {}
    for curve in found.curves:
        place = arms.index(curve.arm)
        aside = 0.05 * (place - (len(arms) - 1) / 2)
        drawn[curve.arm] = _line(axes, curve, place, [places[each.level] + aside for each in curve.levels])
    guessed = [100 * chance[level] for level in levels]
    drawn[_CHANCE] = axes.plot(range(len(levels)), guessed, color="#777777", lw=1.1, ls=(0, (1, 2)))[0]
    axes.set_title(found.title.removeprefix("Probe: "), fontsize=10, loc="left")
    axes.set_xticks(range(len(levels)), [number(level) for level in levels], fontsize=7)
    axes.set_xlabel(found.knob, fontsize=8)
    axes.set_ylabel(f"{found.metric}, out of 100", fontsize=8)
    axes.set_ylim(-4, 104)
    axes.tick_params(labelsize=7)
    axes.grid(axis="y", color="#e4e4e4", lw=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return drawn


def _line(axes: Any, curve: AbilityCurve, place: int, x: Sequence[float]) -> Any:
    scores = [100 * each.score for each in curve.levels]
    known = [(at, each) for at, each in zip(x, curve.levels, strict=True) if not math.isnan(each.low)]
    colour = _COLOURS[place % len(_COLOURS)]
    for at, each in known:
        axes.plot([at, at], [100 * each.low, 100 * each.high], color=colour, lw=0.8, alpha=0.7)
    style = {"color": colour, "ls": _LINES[place % len(_LINES)], "marker": _MARKS[place % len(_MARKS)]}
    return axes.plot(x, scores, lw=1.4, ms=4.5, **style)[0]
