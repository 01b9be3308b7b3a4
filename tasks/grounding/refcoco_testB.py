"""RefCOCO testB (UNC split, other objects): find the object that an expression refers to."""

from evalkit.benchmarks import refcoco
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.task import HubDataset, Task, image, locate

task = Task(
    name="refcoco_testB",
    category="grounding",
    title="RefCOCO testB",
    paper_row="RefCOCO_testB",
    dataset=HubDataset(
        "lmms-lab-encoder/RefCOCO",
        split="testB",
        aliases=("lmms-lab/RefCOCO",),
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
    size=5095,
    licence=refcoco.LICENCE,
    citation=refcoco.CITATION,
    notes="5,095 expressions of 1,810 objects in 750 images; accuracy over expressions, one box each.",
    lmms_eval_notes=refcoco.LMMS_EVAL_NOTES,
    example=refcoco.EXTENT_EXAMPLE,
)
