"""Several answers to each question (``--n``): the mean over them, pass@k, and the vote of the majority."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from evalkit.core.sampling_params import pass_at_k
from evalkit.metrics.base import Metric, Scored, ScoringUnit, UnitMetric, group_labels
from evalkit.report.aggregate import BenchmarkColumn, Cell, Estimate, make_cell
from evalkit.report.intervals import interval
from evalkit.report.paired import ScorePair
from evalkit.store.records import Record
from evalkit.store.records_table import ScoreRow, filtered, score_rows


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
    return [
        replace(same[0], value=sum(each.value for each in same) / len(same))
        for same in zip(*units, strict=True)
    ]


def is_repeated(rows: Sequence[ScoreRow]) -> bool:
    """Whether questions have several answers."""
    return any(row.repetition for row in rows)


def mean_pairs(metric: Metric, first: Sequence[ScoreRow], second: Sequence[ScoreRow]) -> list[ScorePair]:
    """The mean scores of what both arms have a score for in each of their repetitions."""
    sides = (by_repetition(first), by_repetition(second))
    shared = set.intersection(*({row.sample_id for row in side[0]} for side in sides))
    left = [[row for row in own if row.sample_id in shared] for own in sides[0]]
    order = [row.sample_id for row in left[0]]
    known = [{row.sample_id: row for row in own} for own in sides[1]]
    right = [[own[sample] for sample in order] for own in known]
    units = [mean_units(units_of(metric, side)) for side in (left, right)]
    return [
        ScorePair(a.value, b.value, left[0][a.place].cluster_id, a.weight)
        for a, b in zip(*units, strict=True)
    ]


def mean_cell(
    arm: str,
    column: BenchmarkColumn,
    records: Sequence[Record],
    expected: int,
    metric: Metric,
    seed: int | None = None,
    limits: Mapping[str, float] | None = None,
    *,
    n: int,
) -> Cell:
    """The cell of ``n`` answers to each question: estimates and figures are means over the repetitions, of
    the questions that have a score in all of them. The rest is as in
    :func:`~evalkit.report.aggregate.make_cell`.
    """
    every = score_rows(records)
    repetitions = by_repetition(every, n)
    whole = {row.sample_id for row in repetitions[0]}
    all_of = make_cell(arm, column, records, expected, metric, seed, limits)  # counts are of every answer
    cells = [
        make_cell(
            arm,
            column,
            filtered(records, [row.repetition == number and row.sample_id in whole for row in every]),
            expected,
            metric,
            seed,
            limits,
        )
        for number in range(n)
    ]
    labels = {(group, label) for cell in cells for group, found in cell.breakdown.items() for label in found}
    breakdown: dict[str, dict[str, Estimate]] = {}
    for group, label in sorted(labels):
        own = [
            [row for row in rows if label in group_labels(row.groups.get(group, ()))] for rows in repetitions
        ]
        values = [cell.breakdown[group][label].value for cell in cells]
        breakdown.setdefault(group, {})[label] = _estimate(metric, own, values, column.limits)
    return replace(
        all_of,
        estimate=_estimate(metric, repetitions, [cell.estimate.value for cell in cells], column.limits),
        figures=_mean_figures([cell.figures for cell in cells]),
        breakdown=breakdown,
        repetitions=n,
        repeated=repeated_figures(metric, repetitions),
    )


def _estimate(
    metric: Metric,
    repetitions: Sequence[Sequence[ScoreRow]],
    values: Sequence[float],
    limits: tuple[float, float],
) -> Estimate:
    """The mean of a figure's values over the repetitions, with its interval over questions."""
    units, rows = mean_units(units_of(metric, repetitions)), repetitions[0]
    clusters = [rows[unit.place].cluster_id for unit in units]
    low, high = interval([unit.value for unit in units], clusters, limits, [unit.weight for unit in units])
    return Estimate(sum(values) / len(values), low, high, len(rows))


def _mean_figures(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure that all have."""
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
