"""RefCOCO, RefCOCO+ (expressions without words of place) and RefCOCOg (long expressions): find the object.

The splits are UNC's (RefCOCO, RefCOCO+; testA: people, testB: other objects) and UMD's (RefCOCOg). ``val``
never comes from lmms-lab-encoder/RefCOCO*: theirs mixes Google's split in (RefCOCO: 8,811 objects instead of
3,811; RefCOCOg: about 7,570 instead of 2,573).
"""

from evalkit.benchmarks import refcoco
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.task import HubDataset, Task, image, locate

COCO_HINT = (
    "the images are COCO's, not part of the repository: unpack "
    "http://images.cocodataset.org/zips/train2014.zip so that DATA_ROOT/coco/train2014/ holds them, and give "
    "`--data-root DATA_ROOT`"
)
LICENCE = "annotations CC-BY-4.0; images under COCO's terms of use"
CITATION = "Yu et al., Modeling Context in Referring Expressions, ECCV 2016 (arXiv:1608.00272)"
CITATION_G = (
    "Mao et al., Generation and Comprehension of Unambiguous Object Descriptions, CVPR 2016 "
    "(arXiv:1511.02283); split of Nagaraja et al., ECCV 2016 (arXiv:1608.00525)"
)
LMMS_EVAL_NOTES = (
    "The `*_bbox_rec_*` tasks read boxes from 0 to 1 only: a model that answers in pixels or "
    "thousandths scores 0. The `*_grounding_*` tasks keep the better of two readings by looking at "
    "the reference. Ours reads the family's own convention."
)
CORNER_EXAMPLE = {
    "ref_id": 25,
    "sentences": [{"sent": "man in the red shirt", "sent_id": 70}],
    "bbox": [103.93, 299.99, 341.84, 478.01],
    "raw_image_info": '{"width": 640, "height": 480}',
    "image_path": "coco/train2014/COCO_train2014_000000581857.jpg",
    "image": {"bytes": None, "path": "COCO_train2014_000000581857.jpg"},
}
EXTENT_EXAMPLE = {
    "question_id": "469306",
    "answer": ["man in the red shirt"],
    "bbox": [103.93, 299.99, 237.91, 178.02],
    "file_name": "COCO_train2014_000000581857_16.jpg",
    "image": {"bytes": None, "path": "COCO_train2014_000000581857.jpg"},
}


def corners(repo):
    """The validation split of a ``jxu124/refcoco*`` repository, which names COCO's images."""
    return HubDataset(
        repo,
        split="validation",
        columns=refcoco.CORNER_COLUMNS,
        files={"image": ("{image_path}",)},
        files_hint=COCO_HINT,
    )


def extents(name, split):
    """A test split of an ``lmms-lab-encoder/RefCOCO*`` repository, which holds the images."""
    return HubDataset(
        f"lmms-lab-encoder/{name}",
        split=split,
        aliases=(f"lmms-lab/{name}",),
        columns=refcoco.EXTENT_COLUMNS,
    )


def referring_task(*, dataset, size, objects, images, citation=CITATION, **declared):
    """The task of one split: ``size`` expressions of ``objects`` objects in ``images`` images."""
    has_corners = dataset.columns is refcoco.CORNER_COLUMNS
    return Task(
        **declared,
        dataset=dataset,
        expand=refcoco.corner_expressions if has_corners else refcoco.extent_expressions,
        prompt=lambda row: (image(row["image"]), locate(row["phrase"])),
        reference=lambda row: row["box"],
        id=lambda row: row["id"],
        cluster=lambda row: row["image_name"],
        groups={"box size": refcoco.box_size},
        meta=refcoco.meta,
        metric=BoxAccuracy(),
        max_new_tokens=128,
        size=size,
        licence=LICENCE,
        citation=citation,
        notes=f"{size:,} expressions of {objects:,} objects in {images:,} images; accuracy over expressions, "
        "one box each.",
        lmms_eval_notes=LMMS_EVAL_NOTES,
        example=CORNER_EXAMPLE if has_corners else EXTENT_EXAMPLE,
    )


tasks = (
    referring_task(
        name="refcoco_val",
        category="grounding",
        title="RefCOCO val",
        paper_row="RefCOCO_val",
        dataset=corners("jxu124/refcoco"),
        size=10834,
        objects=3811,
        images=1500,
    ),
    referring_task(
        name="refcoco_testA",
        category="grounding",
        title="RefCOCO testA",
        paper_row="RefCOCO_testA",
        dataset=extents("RefCOCO", "testA"),
        size=5657,
        objects=1975,
        images=750,
    ),
    referring_task(
        name="refcoco_testB",
        category="grounding",
        title="RefCOCO testB",
        paper_row="RefCOCO_testB",
        dataset=extents("RefCOCO", "testB"),
        size=5095,
        objects=1810,
        images=750,
    ),
    referring_task(
        name="refcoco_plus_val",
        category="grounding",
        title="RefCOCO+ val",
        paper_row="RefCOCO+_val",
        dataset=corners("jxu124/refcocoplus"),
        size=10758,
        objects=3804,
        images=1500,
    ),
    referring_task(
        name="refcoco_plus_testA",
        category="grounding",
        title="RefCOCO+ testA",
        paper_row="RefCOCO+_testA",
        dataset=extents("RefCOCOplus", "testA"),
        size=5726,
        objects=1975,
        images=750,
    ),
    referring_task(
        name="refcoco_plus_testB",
        category="grounding",
        title="RefCOCO+ testB",
        paper_row="RefCOCO+_testB",
        dataset=extents("RefCOCOplus", "testB"),
        size=4889,
        objects=1798,
        images=750,
    ),
    referring_task(
        name="refcocog_val",
        category="grounding",
        title="RefCOCOg val",
        paper_row="RefCOCOg_val",
        dataset=corners("jxu124/refcocog"),
        size=4896,
        objects=2573,
        images=1300,
        citation=CITATION_G,
    ),
    referring_task(
        name="refcocog_test",
        category="grounding",
        title="RefCOCOg test",
        paper_row="RefCOCOg_test",
        dataset=extents("RefCOCOg", "test"),
        size=9602,
        objects=5023,
        images=2600,
        citation=CITATION_G,
    ),
)
