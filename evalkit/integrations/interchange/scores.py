"""``evalkit score`` of another program's file: scores without a run."""

from __future__ import annotations

import math
from typing import Any

from evalkit.integrations.interchange.import_run import ImportSpec, read_answers
from evalkit.metrics.reasoning import TAGS
from evalkit.report.aggregate import BenchmarkColumn, make_cell
from evalkit.scoring.score import score_records


def score_answers(spec: ImportSpec, seed: int | None = None, rule: str = TAGS) -> dict[str, dict[str, Any]]:
    """Score files of another program.

    Returns what :func:`evalkit.scoring.predictions.score_file` does, with ``missing`` (samples without an
    answer) among the rates, and ``notes`` on what was matched and how.

    Raises:
        EvalkitError: as for :func:`evalkit.integrations.interchange.import_run.read_answers`.
    """
    answers = read_answers(spec, rule)
    task, total = answers.task, len(answers.keys)
    records = score_records(answers.records, {task.name: task.metric}, rule)
    column = BenchmarkColumn(task.name, task.category, task.title, task.metric.name, task.metric.range)
    cell = make_cell(answers.system.arm, column, records, total, task.metric, seed)
    rates = {rate.replace(" ", "_"): count / total for rate, count in cell.counts.items()}
    block = {
        "n": total,
        "reasoning": rule,
        "scores": {name: value for name, value in cell.figures.items() if not math.isnan(value)},
        "rates": {**rates, "missing": (total - len(records)) / total},
        "notes": list(answers.imported.notes),
    }
    return {task.name: block}
