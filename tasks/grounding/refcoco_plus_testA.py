"""RefCOCO+ testA (UNC split, people): find the object that an expression without words of place refers to."""

from evalkit.benchmarks import refcoco
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.task import HubDataset, Task, image, locate

task = Task(
    name="refcoco_plus_testA",
    category="grounding",
    title="RefCOCO+ testA",
    paper_row="RefCOCO+_testA",
    dataset=HubDataset(
        "lmms-lab-encoder/RefCOCOplus",
        split="testA",
        aliases=("lmms-lab/RefCOCOplus",),
        columns=refcoco.EXTENT_COLUMNS,
    ),
    expand=refcoco.extent_expressions,
    prompt=lambda row: (image(row["image"]), locate(row["phrase"])),
    reference=lambda row: row["box"],
    id=lambda row: row["id"],
    cluster=lambda row: row["image_name"],
    groups=refcoco.GROUPS,
    meta=refcoco.meta,
    metric=BoxAccuracy(),
    max_new_tokens=128,
    size=5726,
    licence=refcoco.LICENCE,
    citation=refcoco.CITATION,
    notes="5,726 expressions of 1,975 objects in 750 images; accuracy over expressions, one box each.",
    lmms_eval_notes=refcoco.LMMS_EVAL_NOTES,
    example=refcoco.EXTENT_EXAMPLE,
)
