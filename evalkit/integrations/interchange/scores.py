"""``evalkit score`` of another program's file: scores without a run."""

from __future__ import annotations

import math
from typing import Any

from evalkit.integrations.interchange.import_run import ImportSpec, read_answers
from evalkit.metrics.base import FileMetric, Scored
from evalkit.metrics.reasoning import TAGS
from evalkit.report.aggregate import RATES
from evalkit.scoring.score import score_records


def score_answers(spec: ImportSpec, seed: int | None = None, rule: str = TAGS) -> dict[str, dict[str, Any]]:
    """Score files of another program.

    Returns what :func:`evalkit.scoring.predictions.score_file` does, with ``missing`` (samples without an
    answer) among the rates, and ``notes`` on what was matched and how.

    Raises:
        EvalkitError: as for :func:`evalkit.integrations.interchange.import_run.read_answers`.
    """
    answers = read_answers(spec, rule)
    metric, total = answers.task.metric, len(answers.keys)
    records = score_records(answers.records, {answers.task.name: metric}, rule)
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
        "notes": list(answers.imported.notes),
    }
    return {answers.task.name: block}
