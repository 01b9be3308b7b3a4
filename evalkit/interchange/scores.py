"""``evalkit score`` of another program's file: our figures for it, without a run."""

from __future__ import annotations

import math
from typing import Any

from evalkit.interchange.bring import ImportOrder, bring
from evalkit.metrics.base import FileMetric, Scored
from evalkit.metrics.reasoning import TAGS
from evalkit.report.aggregate import RATES
from evalkit.scoring import score_records


def score_answers(order: ImportOrder, seed: int | None = None, rule: str = TAGS) -> dict[str, dict[str, Any]]:
    """Score files of another program; the result is as :func:`evalkit.score_file.score_file` gives it, with
    ``missing`` (samples without an answer) among the rates and ``notes`` on what was matched and how.

    Raises:
        EvalkitError: as for :func:`evalkit.interchange.bring.bring`.
    """
    brought = bring(order, rule)
    metric, total = brought.task.metric, len(brought.keys)
    records = score_records(brought.records, {brought.task.name: metric}, rule)
    scored = [record for record in records if record.score is not None and record.score.value is not None]
    scores = [record.score for record in scored if record.score is not None]
    figures = metric.summarise([Scored(record.score, record.labels) for record in scored if record.score])
    if isinstance(metric, FileMetric) and scored:
        figures |= metric.file_figures([record.answer() for record in scored], scores, seed)
    rates = {
        rate.replace(" ", "_"): sum(not set(flags).isdisjoint(record.flags) for record in records) / total
        for rate, flags in RATES.items()
    }
    block = {
        "n": total,
        "reasoning": rule,
        "scores": {name: value for name, value in figures.items() if not math.isnan(value)},
        "rates": {**rates, "missing": (total - len(records)) / total},
        "notes": list(brought.imported.notes),
    }
    return {brought.task.name: block}
