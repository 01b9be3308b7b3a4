"""MLVU test: nine kinds of multiple-choice questions, up to six options each."""

from evalkit.benchmarks import mlvu
from evalkit.benchmarks.video_choice import watch_closely
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Task, text, video

task = Task(
    name="mlvu_test",
    category="video",
    title="MLVU test",
    dataset=mlvu.repository("sy1998/MLVU_Test"),
    prompt=lambda row: (
        video(row["path"]),
        text(watch_closely(mlvu.question(row), mlvu.options(row))),
    ),
    reference=mlvu.reference,
    # The repository has no ids.
    id=lambda row: str(row["row_number"]),
    cluster=lambda row: row["video_name"],
    groups={"task_type": lambda row: row["task_type"]},
    meta=mlvu.meta,
    metric=MultipleChoice(macro="task_type"),
    max_new_tokens=16,
    size=502,
    licence=mlvu.LICENCE,
    citation=mlvu.CITATION,
    notes="`macro_acc` is the authors' M-Avg, the mean of nine task types. The repository is the one "
    "that lmms-eval scores.",
    lmms_eval_notes="`mlvu_test` can read only A to D of up to six options. Ours reads all.",
    example=mlvu.EXAMPLE,
)
