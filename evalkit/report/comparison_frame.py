"""A comparison as a pandas frame: one row for each arm and benchmark."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evalkit.report.aggregate import RATES

if TYPE_CHECKING:
    import pandas as pd

    from evalkit.report.comparison import Comparison


def comparison_frame(comparison: Comparison) -> pd.DataFrame:
    """One row for each arm and benchmark with a score. ``score``, ``low`` and ``high`` are in the
    metric's own range; ``complete`` is whether all ``expected`` samples have a score. With a baseline,
    ``difference`` and what belongs to it stand beside them, NaN in the baseline's own rows.
    """
    import pandas as pd

    rows = [
        _row(comparison, arm.name, place)
        for arm in comparison.arms
        for place, column in enumerate(comparison.columns)
        if column.task in comparison.cells[arm.name]
    ]
    return pd.DataFrame(rows, columns=None if rows else ["arm", "task", "score"])


def _row(comparison: Comparison, name: str, place: int) -> dict[str, Any]:
    column = comparison.columns[place]
    cell = comparison.cells[name][column.task]
    arm = next(each for each in comparison.arms if each.name == name)
    found = {
        "arm": name,
        "model": arm.model,
        "rope": arm.rope,
        "run": arm.run,
        "task": column.task,
        "category": column.category,
        "metric": column.metric,
        "score": cell.estimate.value,
        "low": cell.estimate.low,
        "high": cell.estimate.high,
        "n": cell.estimate.n,
        "expected": cell.expected,
        "complete": cell.whole,
        **{rate.replace(" ", "_"): cell.counts.get(rate, 0) for rate in RATES},
        "unreliable": "; ".join(cell.unreliable),
    }
    if comparison.baseline is not None:
        found |= _difference(comparison, name, column.task)
    return found


def _difference(comparison: Comparison, arm: str, task: str) -> dict[str, Any]:
    known = comparison.differences.get(arm, {}).get(task)
    values = asdict(known) if known else {}
    names = ("value", "low", "high", "p", "corrected", "detectable")
    return {"baseline": comparison.baseline} | {
        "difference" if name == "value" else f"difference_{name}": values.get(name, math.nan)
        for name in names
    }
