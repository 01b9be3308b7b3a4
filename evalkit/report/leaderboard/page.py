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
    tasks = _by_category(rows)
    rows.sort(key=lambda row: (row["protocol"], -_or_zero(row["overall"]), row["model"], row["rope"]))
    lines = [
        TableRow(
            _protocol(row),
            f"{row['label'] or row['model']}@{row['rope']}\n{row['fingerprint'][:8]} · {row['date']}",
            entries,
        )
        for row, entries in zip(rows, _entries(rows, tasks), strict=True)
    ]
    heads = ("protocol", "model and variant")
    return table_page("evalkit leaderboard", heads, [*_MEANS, *tasks], lines, _notes(rows), _facts(rows))


def _by_category(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The benchmarks, those of a category side by side."""
    names = {name for row in rows for name in row if name not in FIXED}
    categories = {
        task: CATEGORIES.index(found["category"])
        for row in rows
        for task, found in json.loads(row["tasks"]).items()
    }
    return sorted(names, key=lambda name: (categories.get(name, len(CATEGORIES)), name))


def _facts(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    dates = sorted(row["date"] for row in rows if row["date"])
    span = " to ".join(dict.fromkeys([dates[0], dates[-1]])) if dates else ""
    versions = ", ".join(sorted({row["evalkit"] for row in rows}))
    facts = [("rows", str(len(rows))), ("runs of", span), ("evalkit", versions)]
    return [(name, text) for name, text in facts if text]


def _protocol(row: dict[str, Any]) -> str:
    """The protocol, with the recipe, which it names only where it isn't the default."""
    protocol: str = row["protocol"]
    return protocol if "recipe-" in protocol else f"{protocol} · recipe {row['recipe']}"


def _entries(rows: Sequence[dict[str, Any]], tasks: Sequence[str]) -> list[tuple[TableCell, ...]]:
    """Scores as text, ranked among the rows of one protocol, means among those of the same benchmarks. Where
    the rows of a column are over different numbers of samples, each says over how many.
    """
    found: list[list[TableCell]] = [[] for _ in rows]
    for name in (*_MEANS, *tasks):
        rivals: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            same = sorted(json.loads(row["tasks"])) if name in _MEANS else ()
            rivals[row["protocol"], *same].append(place)
        counts = {row["n"] if name in _MEANS else _n(row, name) for row in rows if not math.isnan(row[name])}
        for places in rivals.values():
            values = [math.nan if _unreliable(rows[place], name) else rows[place][name] for place in places]
            for place, rank in zip(places, ranks_of(values), strict=True):
                found[place].append(_cell(rows[place], name, rank, len(counts) > 1))
    return [tuple(entries) for entries in found]


def _cell(row: dict[str, Any], name: str, rank: int, counted: bool) -> TableCell:
    """A score as text, fractions out of 100; ``*``: some samples have no score."""
    value = row[name]
    if math.isnan(value):
        return TableCell(MISSING)
    described = json.loads(row["tasks"]).get(name)
    fraction = described is None or described["range"] == [0.0, 1.0]
    missing = described is not None and described["n"] != described["expected"]
    shown = value * (100 if fraction else 1)
    n = row["n"] if name in _MEANS else _n(row, name)
    marks = [f"(n = {n})"] if counted else []
    marks += [UNRELIABLE] if _unreliable(row, name) else []
    return TableCell(f"{shown:.1f}{'*' if missing else ''}", rank=rank, value=shown, marks=tuple(marks))


def _n(row: dict[str, Any], task: str) -> int:
    described = json.loads(row["tasks"]).get(task)
    return int(described["n"]) if described else 0


def _unreliable(row: dict[str, Any], name: str) -> bool:
    """Whether a score is unreliable, or a mean rests on one that is."""
    described = json.loads(row["tasks"])
    return any(
        bool(found.get("unreliable")) and name in (task, found["category"], "overall")
        for task, found in described.items()
    )


def _notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    metrics = {
        task: found["metric"] for row in rows for task, found in sorted(json.loads(row["tasks"]).items())
    }
    return [
        "bold and underlined are the best and the second of one protocol (means: with the same benchmarks)",
        "rows of different protocols were asked different samples, or otherwise",
        "* some samples have no score",
        f"{UNRELIABLE}: too many answers were cut off, unreadable or repeating; also a mean of such a score",
        "n: samples with a score, where the rows of a column differ in them",
        "a mean is over the row's own benchmarks, and empty where one of them is incomplete",
        "metric: " + ", ".join(f"{task} {metric}" for task, metric in sorted(metrics.items())),
    ]


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
