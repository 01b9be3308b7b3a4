"""RefCOCO+ val (UNC split): find the object that an expression without words of place refers to."""

from evalkit.benchmarks import refcoco
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.task import HubDataset, Task, image, locate

task = Task(
    name="refcoco_plus_val",
    category="grounding",
    title="RefCOCO+ val",
    paper_row="RefCOCO+_val",
    dataset=HubDataset(
        "jxu124/refcocoplus",
        split="validation",
        columns=refcoco.CORNER_COLUMNS,
        files={"image": ("{image_path}",)},
        files_hint=refcoco.COCO_HINT,
    ),
    expand=refcoco.corner_expressions,
    prompt=lambda row: (image(row["image"]), locate(row["phrase"])),
    reference=lambda row: row["box"],
    id=lambda row: row["id"],
    cluster=lambda row: row["image_name"],
    groups=refcoco.GROUPS,
    meta=refcoco.meta,
    metric=BoxAccuracy(),
    max_new_tokens=128,
    size=10758,
    licence=refcoco.LICENCE,
    citation=refcoco.CITATION,
    notes="10,758 expressions of 3,804 objects in 1,500 images; accuracy over expressions, one box each.",
    lmms_eval_notes=refcoco.LMMS_EVAL_NOTES,
    example=refcoco.CORNER_EXAMPLE,
)
