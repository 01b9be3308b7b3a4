"""A page about attention: definitions, tables, the figure, and pictures under a veil; needs no network."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from evalkit.diagnose.attention.figure import draw
from evalkit.diagnose.attention.output import shown_layers, tables
from evalkit.diagnose.attention.pictures import CLEAR, AttentionPicture
from evalkit.report.html import render

if TYPE_CHECKING:
    from evalkit.diagnose.attention.collect import AttentionFigures

_COLUMNS = 4
_STYLE = """
.veiled { position: relative; display: inline-block; line-height: 0; border: 1px solid var(--line); }
.veiled img { width: 12rem; height: auto; display: block; }
.veiled img + img { position: absolute; inset: 0; width: 100%; height: 100%; image-rendering: pixelated; }
.drawn { width: 100%; height: auto; background: #fff; }
.pictures td, .pictures th { text-align: left; vertical-align: top; white-space: normal; }
.pictures th:first-child, .pictures td:first-child { min-width: 8rem; }
table { margin-bottom: 1rem; }
"""


def attention_page(figures: AttentionFigures, command: str, heads: str) -> str:
    """The page, as HTML."""
    style = (files("evalkit.report") / "assets" / "report.css").read_text(encoding="utf-8") + _STYLE
    figure = base64.b64encode(draw(figures.rows, "svg")).decode() if figures.rows else ""
    layers = shown_layers(figures.rows, _COLUMNS)
    return render(
        "attention.html",
        title="Attention",
        style=style,
        command=command,
        definitions=figures.options.definition(),
        tables=list(tables(figures.rows, heads)),
        figure=figure,
        systems=figures.systems,
        skipped=figures.skipped,
        clear=CLEAR,
        samples=list(_samples(figures, layers)),
    )


def _samples(figures: AttentionFigures, layers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The pictured samples, each with a line for every system."""
    measured = sorted({row.layer for row in figures.rows if isinstance(row.layer, int)})
    places = {layer: place for place, layer in enumerate(measured)}
    for task, sample in dict.fromkeys((each.task, each.sample) for each in figures.pictures):
        own = [each for each in figures.pictures if (each.task, each.sample) == (task, sample)]
        several = max(len(each.panels) for each in own) > 1
        heads = _panel_names(own[0]) if several else [f"layer {layer}" for layer in layers]
        rows = []
        for each in own:
            choices = [(panel, list(places.values())) for panel in each.panels]
            if not several:
                choices = [(panel, [places[layer]]) for panel in each.panels for layer in layers]
            cells = [
                {"image": panel.image, "veil": panel.veil(chosen), "most": f"{panel.most(chosen):.1f}"}
                for panel, chosen in choices
            ]
            rows.append(
                {"system": each.system, "answer": each.answer, "cells": cells, "left_out": each.left_out}
            )
        what = ", mean of layers" if several else ""
        yield {
            "title": f"{task}, sample {sample}{what}",
            "question": own[0].question,
            "heads": heads,
            "rows": rows,
        }


def _panel_names(picture: AttentionPicture) -> list[str]:
    return [
        f"image {panel.medium + 1}"
        if panel.frame is None
        else f"video {panel.medium + 1}, step {panel.frame + 1}"
        for panel in picture.panels
    ]
