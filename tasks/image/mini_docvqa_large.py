"""Mini-suite: documents as in ``mini_docvqa`` on pages larger than any that the zoo is trained on."""

from evalkit.metrics.anls import Anls
from evalkit.task import Task, image, text
from evalkit.zoo.minisuite import MiniDataset

task = Task(
    name="mini_docvqa_large",
    category="image",
    title="Mini DocVQA, larger pages",
    dataset=MiniDataset("mini_docvqa_large", n=120),
    prompt=lambda row: (image(row["image"]), text(row["question"])),
    reference=lambda row: list(row["answers"]),
    id=lambda row: row["questionId"],
    cluster=lambda row: row["docId"],
    groups={"question_type": lambda row: tuple(row["question_types"]), "shape": lambda row: row["shape"]},
    meta=lambda row: {"question": row["question"]},
    metric=Anls(),
    max_new_tokens=8,
    size=120,
    tags=("mini",),
    licence="Apache-2.0",
    notes="Synthetic: 35 to 49 cells, where the built-in tiny models were trained on 20 to 25.",
)
