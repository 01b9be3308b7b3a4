"""Mini-suite: bar charts drawn on the spot, in ChartQA's schema."""

from evalkit.metrics.relaxed import RelaxedAccuracy
from evalkit.task import Task, image, text
from evalkit.zoo.minisuite import MiniDataset

SPLITS = {"human_test": "human", "augmented_test": "augmented"}

task = Task(
    name="mini_chartqa",
    category="image",
    title="Mini ChartQA",
    dataset=MiniDataset("mini_chartqa", n=240),
    prompt=lambda row: (image(row["image"]), text(row["question"])),
    reference=lambda row: row["answer"],
    id=lambda row: row["row_number"],
    cluster=lambda row: row["image"]["path"],
    groups={"split": lambda row: SPLITS[row["type"]], "shape": lambda row: row["shape"]},
    meta=lambda row: {"question": row["question"]},
    metric=RelaxedAccuracy(),
    max_new_tokens=8,
    size=240,
    tags=("mini",),
    licence="Apache-2.0",
    notes="Synthetic: `augmented` asks for a bar's value, `human` for the bar that has a value.",
)
