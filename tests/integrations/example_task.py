"""A task of one's own over a Parquet file, for results made elsewhere to be about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from mirrors import IMAGE, png, write_parquet

NAME = "my_questions"
TASK = f"""\
from evalkit.core.columns import IMAGE, TEXT
from evalkit.metrics.relaxed import RelaxedAccuracy
from evalkit.task import Rows, Task, image, text

task = Task(
    name="{NAME}",
    category="image",
    title="My questions",
    dataset=Rows(
        "example_task.parquet", columns={{"id": TEXT, "question": TEXT, "answer": TEXT, "image": IMAGE}}
    ),
    prompt=lambda row: (image(row["image"]), text(row["question"])),
    reference=lambda row: row["answer"],
    id=lambda row: row["id"],
    cluster=lambda row: row["image"]["path"],
    groups={{"half": lambda row: "first" if row["row_number"] < 6 else "second"}},
    meta=lambda row: {{"question": row["question"]}},
    metric=RelaxedAccuracy(),
    max_new_tokens=8,
)
"""
COUNT = 12


def rows() -> list[dict[str, Any]]:
    """Twelve questions about six pictures; the answer to every third is 42."""
    return [
        {
            "id": f"q-{number}",
            "question": f"Which value has the bar with number {number}?",
            "answer": "42" if number % 3 == 0 else str(100 + 10 * number),
            "image": {"bytes": png((number // 2 * 40, 0, 0)), "path": f"chart-{number // 2}.png"},
        }
        for number in range(COUNT)
    ]


def write(folder: Path) -> Path:
    """Write the task and its data; return the folder for `--tasks-dir`."""
    schema = {"id": pa.string(), "question": pa.string(), "answer": pa.string(), "image": IMAGE}
    write_parquet(folder / "example_task.parquet", rows(), schema)
    (folder / f"{NAME}.py").write_text(TASK)
    return folder
