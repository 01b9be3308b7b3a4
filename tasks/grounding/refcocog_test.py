"""RefCOCOg test (UMD split): find the object that a long expression refers to."""

from evalkit.benchmarks import refcoco
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.task import HubDataset, Task, image, locate

task = Task(
    name="refcocog_test",
    category="grounding",
    title="RefCOCOg test",
    paper_row="RefCOCOg_test",
    dataset=HubDataset(
        "lmms-lab-encoder/RefCOCOg",
        split="test",
        aliases=("lmms-lab/RefCOCOg",),
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
    size=9602,
    licence=refcoco.LICENCE,
    citation=refcoco.CITATION_G,
    notes="9,602 expressions of 5,023 objects in 2,600 images; accuracy over expressions, one box each.",
    lmms_eval_notes=refcoco.LMMS_EVAL_NOTES,
    example=refcoco.EXTENT_EXAMPLE,
)
