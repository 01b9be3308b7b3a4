"""Figures of attention as JSON, CSV and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from evalkit.core import provenance
from evalkit.core.console import scrubbed
from evalkit.core.escapes import csv_table
from evalkit.diagnose.attention.summary import FADING, MEAN, SHARE, SINK, AttentionRow

if TYPE_CHECKING:
    from evalkit.config.run_spec import RunSpec
    from evalkit.diagnose.attention.collect import AttentionFigures

MOST_COLUMNS = 8
"""Layers that a table shows; the others are in CSV and JSON."""


def json_of(figures: AttentionFigures, spec: RunSpec) -> dict[str, Any]:
    """All there is, with the definitions and what the figures depend on."""
    return {
        "definitions": figures.options.definition(),
        "options": asdict(figures.options),
        "spec": scrubbed(spec.model_dump(mode="json", exclude_unset=True)),
        "versions": provenance.versions(),
        "systems": [asdict(each) for each in figures.systems],
        "skipped": [asdict(each) for each in figures.skipped],
        "figures": [_known(asdict(each)) for each in figures.rows],
    }


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def csv_of(rows: Sequence[AttentionRow]) -> str:
    """A line for each figure."""
    import pandas as pd

    names = [each.name for each in fields(AttentionRow)]
    return csv_table(pd.DataFrame([asdict(row) for row in rows], columns=names, dtype=object))


def shown_layers(rows: Sequence[AttentionRow], most: int = MOST_COLUMNS) -> list[int]:
    """The layers measured, or evenly chosen ones of them, the last included."""
    layers = sorted({row.layer for row in rows if isinstance(row.layer, int)})
    if len(layers) <= most:
        return layers
    return [layers[round((place + 1) * len(layers) / most) - 1] for place in range(most)]


def tables(
    rows: Sequence[AttentionRow], heads: str = MEAN
) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """For each task and measure by layer: a title, the heads of the columns, and the rows.

    ``heads``: ``mean`` of all, ``groups`` of heads that are rotated by different axes as well, or ``each``.
    """
    layers = shown_layers(rows)
    for task in dict.fromkeys(row.task for row in rows):
        for measure, scale, unit in ((SHARE, 100, " (%)"), (SINK, 1, ""), (FADING, 100, " (points)")):
            own = [row for row in rows if (row.task, row.measure) == (task, measure)]
            lines = _lines([row for row in own if _wanted(row.heads, heads)], layers, scale)
            if lines:
                names = ["system", "heads", *(f"layer {layer}" for layer in layers), "mean of layers", "n"]
                yield f"{task}: {measure}{unit}", names, lines


def _wanted(found: int | str, heads: str) -> bool:
    if heads == "each":
        return isinstance(found, int)
    return found == MEAN or (heads == "groups" and isinstance(found, str))


def _lines(rows: Sequence[AttentionRow], layers: Sequence[int], scale: float) -> list[list[str]]:
    lines: list[list[str]] = []
    columns: list[int | str] = [*layers, MEAN]
    for system, heads in dict.fromkeys((row.system, row.heads) for row in rows):
        own = {row.layer: row for row in rows if (row.system, row.heads) == (system, heads)}
        cells = [_cell(own.get(layer), scale) for layer in columns]
        lines.append([system, str(heads), *cells, str(own[MEAN].samples)])
    return lines


def _cell(row: AttentionRow | None, scale: float) -> str:
    """A value with its interval.

    >>> _cell(AttentionRow("s", "t", "m", 1, 1, value=0.5, low=0.4, high=0.61, samples=9), 100)
    '50.0 40.0–61.0'
    """
    if row is None or row.samples == 0:
        return "-"
    digits = 1 if scale == 100 else 2
    text = f"{scale * row.value:.{digits}f}"
    if row.low is None or row.high is None:
        return text
    between = "–" if row.low >= 0 else " to "
    return f"{text} {scale * row.low:.{digits}f}{between}{scale * row.high:.{digits}f}"
