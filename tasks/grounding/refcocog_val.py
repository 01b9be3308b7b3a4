"""RefCOCOg val (UMD split): find the object that a long expression refers to.

Never from lmms-lab-encoder/RefCOCOg: its `val` mixes Google's split with the UMD one (about 7,570 objects
instead of 2,573).
"""

from evalkit.benchmarks import refcoco
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.task import HubDataset, Task, image, locate

task = Task(
    name="refcocog_val",
    category="grounding",
    title="RefCOCOg val",
    paper_row="RefCOCOg_val",
    dataset=HubDataset(
        "jxu124/refcocog",
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
    size=4896,
    licence=refcoco.LICENCE,
    citation=refcoco.CITATION_G,
    notes="4,896 expressions of 2,573 objects in 1,300 images; accuracy over expressions, one box each.",
    lmms_eval_notes=refcoco.LMMS_EVAL_NOTES,
    example=refcoco.CORNER_EXAMPLE,
)
