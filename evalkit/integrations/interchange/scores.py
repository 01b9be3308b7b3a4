"""``evalkit score`` of another program's file: our figures for it, without a run."""

from __future__ import annotations

import math
from typing import Any

from evalkit.integrations.interchange.import_run import ImportSpec, read_answers
from evalkit.metrics.base import FileMetric, Scored
from evalkit.metrics.reasoning import TAGS
from evalkit.report.aggregate import RATES
from evalkit.scoring.score import score_records


def score_answers(order: ImportSpec, seed: int | None = None, rule: str = TAGS) -> dict[str, dict[str, Any]]:
    """Score files of another program; the result is as :func:`evalkit.scoring.predictions.score_file` gives it, with
    ``missing`` (samples without an answer) among the rates and ``notes`` on what was matched and how.

    Raises:
        EvalkitError: as for :func:`evalkit.integrations.interchange.import_run.read_answers`.
    """
    imported_answers = read_answers(order, rule)
    metric, total = imported_answers.task.metric, len(imported_answers.keys)
    records = score_records(imported_answers.records, {imported_answers.task.name: metric}, rule)
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
        "notes": list(imported_answers.imported.notes),
    }
    return {imported_answers.task.name: block}
