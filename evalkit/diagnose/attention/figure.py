"""The figure of a task's attention: readable in grey, since systems differ by dashes and marks too."""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.diagnose.attention.summary import CURVE, LIFT, MEAN, SHARE, SINK, AttentionRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#1b1b1b", "#b5442f", "#2a6f97", "#8a8a00", "#7a4e9e", "#4f9d69", "#c77d1a", "#6c757d")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (5, 1.5, 1, 1.5)))
_MARKS = "os^Dv*XP"
_MOST_TICKS = 9


def require_matplotlib() -> None:
    """Refuse where figures can't be drawn.

    Raises:
        EnvironmentProblem: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise EnvironmentProblem(
            "matplotlib is not installed", "figures are drawn with it", "pip install 'evalkit[plots]'"
        )


def draw(rows: Sequence[AttentionRow], format_: str) -> bytes:
    """Draw all tasks of some figures, as SVG or PNG: the same bytes every time.

    Raises:
        EnvironmentProblem: matplotlib is not installed.
        UsageError: there is nothing to draw.
    """
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(row.task for row in rows))
    if not tasks:
        raise UsageError("nothing to draw", "no sample was measured", "see why samples were skipped")
    with mpl.rc_context({"svg.hashsalt": "evalkit", "font.size": 8}):
        whole = Figure(figsize=(11, 5.4 * len(tasks)), layout="constrained")
        parts = whole.subfigures(len(tasks), 1, squeeze=False)[:, 0]
        for task, part in zip(tasks, parts, strict=True):
            _draw_task(part, task, [row for row in rows if row.task == task])
        written = io.BytesIO()
        whole.savefig(written, format=format_, dpi=110, metadata={"Date": None} if format_ == "svg" else None)
    return written.getvalue()


def _draw_task(part: Figure, task: str, rows: Sequence[AttentionRow]) -> None:
    panels = part.subplots(2, 3)
    systems = list(dict.fromkeys(row.system for row in rows))
    share, sink, fade = panels[0]
    _by_layer(share, rows, SHARE, systems, 100)
    share.set(title=f"{task}: attention on visual tokens", xlabel="layer", ylabel="% of a query's attention")
    _from_zero(share)
    _by_layer(sink, rows, SINK, systems, 1)
    sink.axhline(1, color="#999", linewidth=0.8)
    sink.set(title="sink strength (1: none)", xlabel="layer", ylabel="times an even spread")
    _from_zero(sink)
    _by_answer_token(fade, rows, systems)
    fade.set(title="fading, mean of layers", xlabel="token of the answer", ylabel="% on visual tokens")
    _from_zero(fade)
    axes = list(dict.fromkeys(row.axis for row in rows if row.measure == LIFT))[:3]
    for panel, axis in zip(panels[1], axes, strict=False):
        _by_distance(panel, rows, str(axis), systems)
        panel.set(
            title=f"visual tokens by distance on {axis}",
            xlabel=f"query's {axis} position minus key's",
            ylabel="times even attention",
        )
    for panel in panels[1][len(axes) :]:
        panel.set_visible(False)
    handles, labels = share.get_legend_handles_labels()
    part.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False)


def _style(number: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "linestyle": _DASHES[number % len(_DASHES)],
        "marker": _MARKS[number % len(_MARKS)],
        "markersize": 4,
        "linewidth": 1.2,
    }


def _by_layer(
    panel: Any, rows: Sequence[AttentionRow], measure: str, systems: Sequence[str], scale: float
) -> None:
    """Means over heads by layer, with intervals."""
    layers = sorted({row.layer for row in rows if row.measure == measure and not isinstance(row.layer, str)})
    for number, system in enumerate(systems):
        own = [
            row
            for row in _of(rows, measure, system)
            if row.heads == MEAN and row.layer != MEAN and not math.isnan(row.value)
        ]
        # Beside each other, so that intervals don't hide one another.
        shift = (number - (len(systems) - 1) / 2) * 0.09
        places = [int(row.layer) + shift for row in own]
        values = [scale * row.value for row in own]
        bounds = [(row.low, row.high) if row.low is not None else (row.value, row.value) for row in own]
        errors = [
            [
                max(0.0, value - scale * float(low or 0.0))
                for value, (low, _) in zip(values, bounds, strict=True)
            ],
            [
                max(0.0, scale * float(high or 0.0) - value)
                for value, (_, high) in zip(values, bounds, strict=True)
            ],
        ]
        panel.errorbar(places, values, yerr=errors, label=system, elinewidth=0.7, **_style(number))
    if len(layers) <= 12:
        panel.set_xticks(layers)


def _by_answer_token(panel: Any, rows: Sequence[AttentionRow], systems: Sequence[str]) -> None:
    labels: dict[float, str] = {}
    for number, system in enumerate(systems):
        own = sorted(
            (row for row in _of(rows, CURVE, system) if row.layer == MEAN), key=lambda row: row.begin or 0
        )
        for row in own:
            labels[_middle(row)] = _range(row)
        panel.plot([_middle(row) for row in own], [100 * row.value for row in own], **_style(number))
    panel.set_xscale("log", base=2)
    panel.set_xticks(list(labels), list(labels.values()))
    panel.minorticks_off()


def _by_distance(panel: Any, rows: Sequence[AttentionRow], axis: str, systems: Sequence[str]) -> None:
    """Over ranges of distances, mean of layers, keys after the query on the left; where heads differ, the
    axis' own heads.
    """
    places: dict[tuple[float, float], str] = {}
    drawn: list[list[AttentionRow]] = []
    for system in systems:
        own = [
            row
            for row in _of(rows, LIFT, system)
            if row.axis == axis and row.keys == "visual" and row.layer == MEAN
        ]
        own_heads = [row for row in own if row.heads == f"{axis} heads"]
        drawn.append(own_heads or [row for row in own if row.heads == MEAN])
        places |= {(row.begin or 0.0, row.end or 0.0): _range(row) for row in drawn[-1]}
    order = sorted(places)
    for number, own in enumerate(drawn):
        points = sorted((order.index((row.begin or 0.0, row.end or 0.0)), row.value) for row in own)
        panel.plot([place for place, _ in points], [value for _, value in points], **_style(number))
    panel.axhline(1, color="#999", linewidth=0.8)
    step = -(-len(order) // _MOST_TICKS)
    shown = range(0, len(order), max(1, step))
    panel.set_xticks(list(shown), [places[order[place]] for place in shown], rotation=30)
    _from_zero(panel)


def _from_zero(panel: Any) -> None:
    """Begin at 0, and end above all that is drawn."""
    panel.set_ylim(0, 1.1 * max(panel.dataLim.y1, 1e-9))


def _of(rows: Sequence[AttentionRow], measure: str, system: str) -> Iterator[AttentionRow]:
    return (row for row in rows if row.measure == measure and row.system == system)


def _middle(row: AttentionRow) -> float:
    return math.sqrt((row.begin or 1) * ((row.end or 2) - 1))


def _range(row: AttentionRow) -> str:
    """A range of whole numbers as one reads it.

    >>> _range(AttentionRow("s", "t", "m", 1, 1, begin=4.0, end=8.0))
    '4–7'
    """
    begin, end = row.begin or 0.0, row.end if row.end is not None else math.inf
    if end <= 0:
        whole = begin + 1 if math.isfinite(begin) else -math.inf
        return f"{end:g}" if whole >= end else f"{whole:g}–{end:g}"
    last = end - 1
    return f"{begin:g}" if last <= begin else f"{begin:g}–{last:g}"
