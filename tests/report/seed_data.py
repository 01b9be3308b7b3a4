"""Made records of several checkpoints, put together as runs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from test_comparison import record

from evalkit.metrics.anls import Anls
from evalkit.report.aggregate import BenchmarkColumn, make_cell
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.gather import CombinedRuns

COLUMNS = [
    BenchmarkColumn("docs", "image", "Documents", "anls", (0.0, 1.0)),
    BenchmarkColumn("charts", "image", "Charts", "anls", (0.0, 1.0)),
    BenchmarkColumn("clip", "video", "Clips", "anls", (0.0, 1.0)),
]


class MadeRuns(CombinedRuns):
    """Runs without folders: every benchmark has one metric, and all of its samples."""

    def metric(self, arm: str, task: str) -> Anls:
        return Anls()

    def sizes(self) -> dict[str, dict[str, int | None]]:
        return {arm: dict.fromkeys(tasks, 9) for arm, tasks in self.records.items()}


def made_runs(
    scores: Mapping[str, Mapping[str, Sequence[float | None]]], **fields: Mapping[str, object]
) -> CombinedRuns:
    """``scores`` maps arms (``name@variant``) and tasks to what each sample scored, ``fields`` names of arms'
    fields to values by arm.
    """
    columns = [column for column in COLUMNS if any(column.task in tasks for tasks in scores.values())]
    records = {
        arm: {
            task: [record(n, value, task=task, arm=arm, cluster_id=str(n)) for n, value in enumerate(values)]
            for task, values in tasks.items()
        }
        for arm, tasks in scores.items()
    }
    cells = {
        arm: {
            column.task: make_cell(arm, column, tasks[column.task], len(tasks[column.task]), Anls())
            for column in columns
            if column.task in tasks
        }
        for arm, tasks in records.items()
    }
    arms = [
        Arm(name, f"/ckpts/{name.split('@')[0]}", name.split("@")[1], "qwen2_5_vl", name, "run", system=name)
        for name in scores
    ]
    for field, values in fields.items():
        arms = [replace(arm, **{field: values[arm.name]}) if arm.name in values else arm for arm in arms]
    return MadeRuns(Comparison(arms, columns, cells), records, {})
