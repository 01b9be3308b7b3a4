"""Mini-suite: coloured boxes drawn on the spot, named by colour or by place, in RefCOCO's schema."""

from evalkit.benchmarks import refcoco
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.task import Task, image, locate
from evalkit.zoo.minisuite import MiniDataset

task = Task(
    name="mini_refcoco",
    category="grounding",
    title="Mini RefCOCO",
    dataset=MiniDataset("mini_refcoco", n=240),
    expand=refcoco.extent_expressions,
    prompt=lambda row: (image(row["image"]), locate(row["phrase"])),
    reference=lambda row: row["box"],
    id=lambda row: row["id"],
    cluster=lambda row: row["file_name"].rpartition("_")[0],
    groups={"expression": lambda row: row["kind"], "shape": lambda row: row["shape"]},
    meta=refcoco.meta,
    metric=BoxAccuracy(),
    max_new_tokens=16,
    tags=("mini",),
    licence="Apache-2.0",
    notes="Synthetic: about 240 expressions; corners lie on the grid of 28 pixels.",
)
