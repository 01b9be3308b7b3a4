"""Mini-suite: documents drawn on the spot; a code is read along a row or down a column."""

from evalkit.metrics.anls import Anls
from evalkit.task import Task, image, text
from evalkit.zoo.minisuite import MiniDataset

task = Task(
    name="mini_docvqa",
    category="image",
    title="Mini DocVQA",
    dataset=MiniDataset("mini_docvqa", n=240),
    prompt=lambda row: (image(row["image"]), text(row["question"])),
    reference=lambda row: list(row["answers"]),
    id=lambda row: row["questionId"],
    cluster=lambda row: row["docId"],
    groups={"question_type": lambda row: tuple(row["question_types"]), "shape": lambda row: row["shape"]},
    meta=lambda row: {"question": row["question"]},
    metric=Anls(),
    max_new_tokens=8,
    size=240,
    tags=("mini",),
    licence="Apache-2.0",
    notes="Synthetic: measures the built-in tiny models, not documents. Codes have three letters of sixteen.",
)
