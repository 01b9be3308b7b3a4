"""Curves of drawn abilities as tables: for the terminal, in Markdown, CSV and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from evalkit.core.escapes import csv_table, markdown
from evalkit.report.ability import LEAST, Ability, AbilityCurve, Level, Measured

HEAD = ("system", "area", "halfway", "area to baseline", "halfway to baseline, in levels")
NOTES = (
    "scores out of 100 with 95% intervals; chance: what guessing gives",
    "area: under (score - chance) / (1 - chance), levels at equal distances; 100: all right, 0: chance",
    "halfway: where that curve first falls below one half; `<`: at the first level already, `never`: at none",
    "intervals of area, halfway and differences: bootstrap over items, paired between systems; none where a "
    f"level has fewer than {LEAST}",
)


def number(value: float) -> str:
    """A level, with three digits where it isn't whole.

    >>> number(1024.0), number(96.4321)
    ('1,024', '96.4')
    """
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def halfway_text(curve: AbilityCurve) -> str:
    """Where a curve falls halfway to chance, with the interval."""
    found = curve.halfway
    value = _end(found.value, curve)
    if math.isnan(found.low):
        return value
    return f"{value} ({_end(found.low, curve)} to {_end(found.high, curve)})"


def _end(value: float, curve: AbilityCurve) -> str:
    if value == -math.inf:
        return f"<{number(curve.levels[0].level)}"
    return "never" if value == math.inf else number(value)


def _percent(found: Measured | None, factor: float = 100.0, sign: str = "") -> str:
    if found is None:
        return "-"
    value, low, high = (f"{factor * each:{sign}.1f}" for each in (found.value, found.low, found.high))
    return value if math.isnan(found.low) else f"{value} ({low} to {high})"


def summary_rows(found: Ability) -> list[tuple[str, ...]]:
    """A row for each system, as :data:`HEAD` says."""
    return [
        (
            curve.arm,
            _percent(curve.area),
            halfway_text(curve),
            _percent(curve.area_difference, sign="+"),
            _percent(curve.halfway_difference, 1.0, sign="+"),
        )
        for curve in found.curves
    ]


def level_rows(found: Ability) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the scores: a row for each level, a column for each system."""
    levels = _levels(found)
    by_arm = [{each.level: each for each in curve.levels} for curve in found.curves]
    rows = []
    for level in levels:
        known = [own.get(level) for own in by_arm]
        first = next(each for each in known if each is not None)
        scores = [_score(each) for each in known]
        rows.append((number(level), f"{100 * first.chance:.1f}", str(first.n), _tokens(known), *scores))
    head = (found.knob, "chance", "n", "tokens", *(curve.arm for curve in found.curves))
    return head, rows


def _score(level: Level | None) -> str:
    if level is None:
        return "-"
    ends = "" if math.isnan(level.low) else f" ({100 * level.low:.0f}-{100 * level.high:.0f})"
    return f"{100 * level.score:.1f}{ends}"


def _tokens(known: Sequence[Level | None]) -> str:
    tokens = [each.tokens for each in known if each is not None and each.tokens is not None]
    return f"{tokens[0]:,.0f}" if tokens else "-"


def _levels(found: Ability) -> list[float]:
    return sorted({each.level for curve in found.curves for each in curve.levels})


def warnings(found: Ability) -> Iterator[str]:
    """What makes a curve something else than it seems."""
    for curve in found.curves:
        missed = [each for each in curve.levels if each.unseen]
        if missed:
            said = ", ".join(f"{each.unseen} of {each.n} at {number(each.level)}" for each in missed)
            yield (
                f"{curve.arm}: films were shown without the frames that the answer is in ({said}): "
                "give a higher `--max-frames`"
            )
    sizes = {arm.arm: len(arm.levels) for arm in found.curves}
    if len(set(sizes.values())) > 1:
        yield "systems have different levels: areas are not comparable, differences are over shared samples"


def markdown_text(abilities: Sequence[Ability]) -> str:
    """All abilities as Markdown."""
    parts: list[str] = []
    for found in abilities:
        head, rows = level_rows(found)
        parts += [f"### {markdown(found.title)} (`{found.task}`, {markdown(found.metric)})", ""]
        parts += [_table(head, rows), "", _table(HEAD, summary_rows(found)), ""]
        parts += [f"- {markdown(each)}" for each in warnings(found)]
    return "\n".join([*parts, *(f"- {markdown(note)}" for note in NOTES)])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    cells = [[each if place == 1 else markdown(each) for each in line] for place, line in enumerate(lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def csv_text(abilities: Sequence[Ability]) -> str:
    """A row for each ability, system and level, at full precision."""
    import pandas as pd

    rows = [
        {"task": found.task, "knob": found.knob, "system": curve.arm, **vars(each)}
        for found in abilities
        for curve in found.curves
        for each in curve.levels
    ]
    return csv_table(pd.DataFrame(rows))


def to_json(abilities: Sequence[Ability]) -> list[dict[str, Any]]:
    """Everything at full precision; of ``halfway``, ``below`` and ``never`` stand for a point outside."""
    return [
        {
            **{name: getattr(found, name) for name in ("task", "title", "category", "metric", "knob")},
            "systems": [_curve_json(curve) for curve in found.curves],
            "warnings": list(warnings(found)),
        }
        for found in abilities
    ]


def _curve_json(curve: AbilityCurve) -> dict[str, Any]:
    words = {-math.inf: "below", math.inf: "never"}
    halfway = {name: words.get(value, value) for name, value in vars(curve.halfway).items()}
    return {
        "name": curve.arm,
        "levels": [vars(each) for each in curve.levels],
        "area": vars(curve.area),
        "halfway": halfway,
        "area_difference": None if curve.area_difference is None else vars(curve.area_difference),
        "halfway_difference": None if curve.halfway_difference is None else vars(curve.halfway_difference),
    }
