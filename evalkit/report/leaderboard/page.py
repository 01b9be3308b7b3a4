"""A leaderboard CSV as one self-contained HTML page, sorted and filtered by its reader."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.report.aggregate import CATEGORIES
from evalkit.report.grid import MISSING, UNRELIABLE, TableCell, TableRow, ranks_of
from evalkit.report.leaderboard.table import FIXED, sound_rows
from evalkit.report.page import table_page

_MEANS = ("overall", *CATEGORIES)


def leaderboard_page(target: Path) -> str:
    """The page; rows are grouped by protocol, the best overall mean first.

    Raises:
        UsageError: ``target`` is no leaderboard, or damaged.
    """
    rows = sound_rows(target)
    tasks = sorted({name for row in rows for name in row if name not in FIXED})
    rows.sort(key=lambda row: (row["protocol"], -_or_zero(row["overall"]), row["model"], row["rope"]))
    lines = [
        TableRow(row["model"], f"{row['rope']} · {_protocol(row)} · {row['fingerprint'][:8]}", entries)
        for row, entries in zip(rows, _entries(rows, tasks), strict=True)
    ]
    return table_page("evalkit leaderboard", ("model", "variant"), [*_MEANS, *tasks], lines, _notes(rows))


def _protocol(row: dict[str, Any]) -> str:
    """The protocol, with the recipe, which it names only where it isn't the default."""
    protocol: str = row["protocol"]
    return protocol if "recipe-" in protocol else f"{protocol} · recipe {row['recipe']}"


def _entries(rows: Sequence[dict[str, Any]], tasks: Sequence[str]) -> list[tuple[TableCell, ...]]:
    """Scores as text, ranked among the rows of one protocol, means among those of the same benchmarks."""
    found: list[list[TableCell]] = [[] for _ in rows]
    for name in (*_MEANS, *tasks):
        rivals: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            same = sorted(json.loads(row["tasks"])) if name in _MEANS else ()
            rivals[row["protocol"], *same].append(place)
        for places in rivals.values():
            for place, rank in zip(places, ranks_of([rows[place][name] for place in places]), strict=True):
                found[place].append(TableCell(_text(rows[place], name), rank=rank))
    return [tuple(entries) for entries in found]


def _text(row: dict[str, Any], name: str) -> str:
    """A score as text, fractions out of 100; ``*``: some samples have no score."""
    value = row[name]
    if math.isnan(value):
        return MISSING
    described = json.loads(row["tasks"]).get(name)
    fraction = described is None or described["range"] == [0.0, 1.0]
    missing = described is not None and described["n"] != described["expected"]
    text = f"{value * (100 if fraction else 1):.1f}{'*' if missing else ''}"
    return f"{text} {UNRELIABLE}" if described and described.get("unreliable") else text


def _notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    metrics = {
        task: found["metric"] for row in rows for task, found in sorted(json.loads(row["tasks"]).items())
    }
    return [
        "bold and underlined are the best and the second of one protocol (means: with the same benchmarks)",
        "* some samples have no score",
        f"{UNRELIABLE}: too many answers were cut off, unreadable or repeating",
        "a mean is over the row's own benchmarks, and empty where one of them is incomplete",
        "metric: " + ", ".join(f"{task} {metric}" for task, metric in sorted(metrics.items())),
    ]


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
