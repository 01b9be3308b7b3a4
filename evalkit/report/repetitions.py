"""Several answers to each question (``--n``): the mean over them, pass@k, and the vote of the majority."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from evalkit.core.sampling_params import pass_at_k
from evalkit.metrics.base import Metric, Scored, ScoringUnit, UnitMetric
from evalkit.store.records_table import ScoreRow


def by_repetition(rows: Sequence[ScoreRow], n: int = 0) -> list[list[ScoreRow]]:
    """The rows of each repetition, in the same order of samples; only of samples with a score in all of them.

    ``n``: how many repetitions there should be; 0 for as many as there are.
    """
    n = n or 1 + max((row.repetition for row in rows), default=0)
    scored = [row for row in rows if row.score is not None and row.score.value is not None]
    if n == 1:
        return [scored]
    known: dict[str, dict[int, ScoreRow]] = defaultdict(dict)
    for row in scored:
        known[row.sample_id][row.repetition] = row
    whole = [found for found in known.values() if len(found) == n]
    return [[found[repetition] for found in whole] for repetition in range(n)]


def units_of(metric: Metric, repetitions: Sequence[Sequence[ScoreRow]]) -> list[list[ScoringUnit]]:
    """What the primary figure is the weighted mean of, for each repetition."""
    if isinstance(metric, UnitMetric):
        return [metric.units(items_of(rows)) for rows in repetitions]
    return [
        [
            ScoringUnit(place, (row.score.value if row.score else None) or 0.0)
            for place, row in enumerate(rows)
        ]
        for rows in repetitions
    ]


def mean_units(units: Sequence[Sequence[ScoringUnit]]) -> list[ScoringUnit]:
    """Each unit with its mean over the repetitions."""
    if len(units) == 1:
        return list(units[0])
    return [
        replace(same[0], value=sum(each.value for each in same) / len(same))
        for same in zip(*units, strict=True)
    ]


def mean_figures(metric: Metric, repetitions: Sequence[Sequence[ScoreRow]]) -> dict[str, float]:
    """Every figure of a benchmark, its mean over the repetitions."""
    found = [metric.summarise(items_of(rows)) for rows in repetitions]
    return mean_of(found)


def mean_of(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure that all have."""
    if len(figures) == 1:
        return dict(figures[0])
    shared = [name for name in figures[0] if all(name in each for each in figures)]
    return {name: sum(each[name] for each in figures) / len(figures) for name in shared}


def repeated_figures(metric: Metric, repetitions: Sequence[Sequence[ScoreRow]]) -> dict[str, float]:
    """``pass@k`` for powers of two and for all repetitions, where scores are right or wrong, and ``maj@n``,
    the score of each question's commonest answer; nothing for one repetition.
    """
    n = len(repetitions)
    if n == 1 or not repetitions[0]:
        return {}
    found: dict[str, float] = {}
    units = units_of(metric, repetitions)
    if all(unit.value in (0.0, 1.0) for own in units for unit in own):
        total = sum(unit.weight for unit in units[0])
        right = [sum(int(each.value) for each in same) for same in zip(*units, strict=True)]
        for k in sorted({n, *(2**power for power in range(1, n.bit_length()) if 2**power <= n)}):
            passed = (
                unit.weight * pass_at_k(n, correct, k) for unit, correct in zip(units[0], right, strict=True)
            )
            found[f"pass@{k}"] = sum(passed) / total
    voted = [_majority(same) for same in zip(*repetitions, strict=True)]
    if all(row is not None for row in voted):
        chosen = [row for row in voted if row is not None]
        found[f"maj@{n}"] = metric.summarise(items_of(chosen)).get(metric.name, math.nan)
    return found


def _majority(rows: Sequence[ScoreRow]) -> ScoreRow | None:
    """The first of the rows with the commonest answer (of equally common ones, the one that came first); of
    answers that can't be read, the first. None where answers are numbers, which hardly ever agree.
    """
    read = [row for row in rows if row.score is not None and row.score.parsed is not None]
    if any(_numbers(row.score.parsed) for row in read if row.score is not None):
        return None
    said = [
        json.dumps(row.score.parsed, sort_keys=True, default=str) for row in read if row.score is not None
    ]
    if not said:
        return rows[0]
    commonest = Counter(said).most_common(1)[0][0]
    return read[said.index(commonest)]


def _numbers(parsed: object) -> bool:
    return isinstance(parsed, list | tuple) and all(isinstance(each, int | float) for each in parsed)


def items_of(rows: Sequence[ScoreRow]) -> list[Scored]:
    """Scores with their labels, as metrics take them."""
    return [Scored(row.score, row.labels) for row in rows if row.score is not None]
