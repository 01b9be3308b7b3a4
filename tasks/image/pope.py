"""POPE: is an object in the photo? Asked about random, popular and likely objects."""

from evalkit.benchmarks.wording import yes_or_no
from evalkit.core.columns import IMAGE, NAME, TEXT
from evalkit.metrics.yes_no import PopeAccuracy
from evalkit.task import HubDataset, Task, image

task = Task(
    name="pope",
    category="image",
    title="POPE",
    dataset=HubDataset(
        "lmms-lab-encoder/POPE",
        split="test",
        aliases=("lmms-lab/POPE",),
        columns={
            "question_id": NAME,
            "question": TEXT,
            "answer": TEXT,
            "image_source": TEXT,
            "image": IMAGE,
            "category": TEXT,
        },
    ),
    prompt=lambda row: (image(row["image"]), yes_or_no(row["question"])),
    reference=lambda row: row["answer"],
    # Ids begin again in each split.
    id=lambda row: f"{row['category']}-{row['question_id']}",
    cluster=lambda row: row["image_source"],
    groups={"split": lambda row: row["category"]},
    meta=lambda row: {"question": row["question"]},
    metric=PopeAccuracy(),
    max_new_tokens=16,
    size=9000,
    licence="MIT",
    citation="Li et al., Evaluating Object Hallucination in Large Vision-Language Models, EMNLP 2023 "
    "(arXiv:2305.10355)",
    notes="3,000 questions in each split. `acc` is the primary figure; many papers print F1 (`f1`, and "
    "`f1/split/...`).",
    lmms_eval_notes="`pope` accepts only the words yes and no alone, and its `pope_yes_ratio` counts the "
    "references, so that it is always 0.5. Ours follows the official script.",
    example={
        "question_id": "1",
        "question": "Is there a dog in the image?",
        "answer": "yes",
        "image_source": "COCO_val2014_000000310196",
        "category": "random",
        "image": {"bytes": None, "path": "COCO_val2014_000000310196.jpg"},
    },
)
