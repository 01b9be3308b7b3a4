"""RefCOCO val (UNC split): find the object that an expression refers to.

Never from lmms-lab-encoder/RefCOCO: its `val` mixes Google's split with the UNC one (8,811 objects
instead of 3,811).
"""

from evalkit.benchmarks import refcoco
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.task import HubDataset, Task, image, locate

task = Task(
    name="refcoco_val",
    category="grounding",
    title="RefCOCO val",
    paper_row="RefCOCO_val",
    dataset=HubDataset(
        "jxu124/refcoco",
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
    size=10834,
    licence=refcoco.LICENCE,
    citation=refcoco.CITATION,
    notes="10,834 expressions of 3,811 objects in 1,500 images; accuracy over expressions, one box each.",
    lmms_eval_notes=refcoco.LMMS_EVAL_NOTES,
    example=refcoco.CORNER_EXAMPLE,
)
