"""Scores of several arms on the samples that all of them have, summed by cluster (image, video)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.metrics.base import Metric
from evalkit.report.differences import pairs
from evalkit.report.repetitions import by_repetition
from evalkit.store.records_table import ScoreRow

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClusterTable:
    """``sums`` ``[clusters, 1 + arms]``: weights, then every arm's weighted scores. ``units`` ``[units,
    arms]`` are the scores of what the metric scores as one.
    """

    sums: Floats
    units: Floats


def cluster_table(metric: Metric, sides: Sequence[Sequence[ScoreRow]]) -> ClusterTable | None:
    """The table of arms' rows of one benchmark; None where they share no scored sample."""
    scored = ({row.sample_id for row in by_repetition(side)[0]} for side in sides)
    shared = set.intersection(*scored)
    if not shared:
        return None
    kept = [[row for row in side if row.sample_id in shared] for side in sides]
    columns = [pairs(metric, kept[0], side) for side in kept]
    rows: dict[str, Floats] = {}
    scores = []
    for units in zip(*columns, strict=True):
        row = rows.setdefault(units[0].cluster, np.zeros(1 + len(sides)))
        values = [unit.second for unit in units]
        row += units[0].weight * np.asarray([1.0, *values])
        scores.append(values)
    return ClusterTable(np.asarray(list(rows.values())), np.asarray(scores))
