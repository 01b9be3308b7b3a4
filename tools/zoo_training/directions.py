"""The zoo beside the paper's directions of effect: ``python -m tools.zoo_training.directions [RESULTS]``.

A difference of the zoo (mean over seeds, the interval of ``evalkit compare --group-by rope``) agrees with the
paper's if its interval excludes zero on the paper's side, disagrees if on the other side; else it can't tell.
The contrasts are the paper's own, written down before the zoo was trained.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.report.gather import CombinedRuns, gather
from evalkit.report.seed_rows import group_seeds
from evalkit.zoo.scenes import SCENES
from tools.zoo_training.plan import table_variants

Scores = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class PaperTable:
    """Scores of arXiv 2510.23095v3: of each variant (evalkit's name), in the order of ``columns``.

    A column is a category of benchmarks, or the mini task that stands for one benchmark.
    """

    title: str
    baseline: str
    columns: tuple[str, ...]
    scores: Scores


_COLUMN_TITLES = {
    "image": "image",
    "video": "video",
    "grounding": "grounding",
    "mini_docvqa": "DocVQA",
    "mini_chartqa": "ChartQA",
}
_ALL = ("image", "video", "grounding", "mini_docvqa", "mini_chartqa")

TABLES = (
    PaperTable(
        "Table 2: methods, against vanilla RoPE",
        "vanilla",
        _ALL,
        {
            "vanilla": (62.17, 51.64, 73.48, 82.94, 56.84),
            "mrope": (61.90, 51.51, 73.69, 81.49, 63.56),
            "videorope": (57.03, 52.18, 72.59, 60.13, 54.88),
            "hope": (57.14, 52.95, 73.34, 60.12, 55.44),
            "circlerope": (60.16, 51.09, 74.96, 77.70, 53.72),
            "mhrope": (62.92, 52.58, 74.92, 81.32, 62.44),
            "mrope-i": (63.79, 52.36, 75.85, 83.72, 62.12),
        },
    ),
    PaperTable(
        "Table 4: position designs, allocation interleaved, against 3D structure with spatial reset",
        "mrope-i",
        _ALL,
        dict(
            zip(
                table_variants("table4"),
                (
                    (65.69, 51.64, 73.48, 82.94, 56.84),
                    (65.87, 51.29, 74.40, 82.33, 61.44),
                    (66.65, 52.36, 75.85, 83.72, 62.12),
                    (61.20, 52.51, 72.33, 60.13, 54.88),
                    (62.80, 50.88, 73.19, 70.43, 51.28),
                    (58.27, 50.71, 68.20, 77.30, 44.33),
                    (60.15, 52.11, 74.13, 80.44, 58.80),
                ),
                strict=True,
            )
        ),
    ),
    PaperTable(
        "Table 5: frequency allocations, positions with spatial reset, against interleave",
        "mrope-i",
        ("image", "video", "grounding"),
        dict(
            zip(
                table_variants("table5"),
                ((65.33, 52.11, 72.50), (65.26, 51.15, 72.80), (66.40, 52.58, 74.92), (66.65, 52.36, 75.85)),
                strict=True,
            )
        ),
    ),
)


@dataclass(frozen=True)
class Direction:
    """One difference to a baseline: the paper's in points, the zoo's with its interval."""

    variant: str
    column: str
    paper: float
    zoo: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``agrees``, ``disagrees`` or ``can't tell``."""
        if self.low <= 0 <= self.high or self.paper == 0:
            return "can't tell"
        return "agrees" if (self.zoo > 0) == (self.paper > 0) else "disagrees"


def directions(table: PaperTable, comparison: Mapping[str, Any]) -> Iterator[Direction]:
    """The zoo's differences beside those of a table, for the variants that were compared.

    ``comparison`` is what :meth:`Comparison.to_json` gives.
    """
    base = table.scores[table.baseline]
    arms = {arm["rope"]: arm for arm in comparison["arms"]}
    for variant, scores in table.scores.items():
        if variant == table.baseline or variant not in arms:
            continue
        for column, paper, other in zip(table.columns, scores, base, strict=True):
            points = (100 * each for each in _difference(arms[variant], column))
            yield Direction(variant, column, round(paper - other, 2), *points)


def _difference(arm: Mapping[str, Any], column: str) -> tuple[float, float, float]:
    if column in arm["differences"]:
        found = arm["differences"][column]
        return found["value"], found["low"], found["high"]
    value, low, high = arm["mean_differences"][column]
    return value, low, high


def trained_sizes(runs: CombinedRuns) -> CombinedRuns:
    """The tasks of the scenes that the zoo was trained on: the paper has none of larger ones."""
    columns = [each for each in runs.comparison.columns if each.task in SCENES]
    return replace(runs, comparison=replace(runs.comparison, columns=columns))


def markdown(table: PaperTable, found: list[Direction]) -> str:
    """A table of Markdown: a row for each variant, a column for each of the paper's."""
    lines = [
        f"**{table.title}**",
        "",
        "| variant | " + " | ".join(_COLUMN_TITLES[column] for column in table.columns) + " |",
        "|---|" + "---|" * len(table.columns),
    ]
    for variant in dict.fromkeys(each.variant for each in found):
        cells = [
            f"{each.paper:+.2f}; {each.zoo:+.1f} ({each.low:+.1f} to {each.high:+.1f}) {each.verdict}"
            for each in found
            if each.variant == variant
        ]
        lines.append(f"| `{variant}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Print the tables, and how often the zoo agrees."""
    parser = argparse.ArgumentParser(prog="python -m tools.zoo_training.directions", description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/zoo"))
    options = parser.parse_args()
    runs = trained_sizes(gather([options.results]))
    for table in TABLES:
        comparison = group_seeds(runs, "rope", {}).comparison(table.baseline, "holm")
        found = list(directions(table, comparison.to_json()))
        missing = sorted(set(table.scores) - {each.variant for each in found} - {table.baseline})
        verdicts = Counter(each.verdict for each in found)
        print(markdown(table, found))  # noqa: T201 (a tool's output)
        print("", ", ".join(f"{name}: {count}" for name, count in sorted(verdicts.items())), sep="\n")  # noqa: T201
        print(*(f"not trained: {variant}" for variant in missing), "", sep="\n")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
