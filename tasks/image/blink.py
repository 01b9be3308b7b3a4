"""BLINK validation: fourteen visual tasks that people solve at a glance, up to four images each."""

from evalkit.benchmarks.options import lettered
from evalkit.core.columns import IMAGE, OPTIONS, TEXT
from evalkit.metrics.blink import SUBTASKS, BlinkAccuracy
from evalkit.task import HubDataset, Task, image, text

IMAGES = ("image_1", "image_2", "image_3", "image_4")

task = Task(
    name="blink",
    category="image",
    title="BLINK val",
    paper_row="BLINK",
    dataset=HubDataset(
        "BLINK-Benchmark/BLINK",
        config=SUBTASKS,
        split="val",
        columns={
            "idx": TEXT,
            "question": TEXT,
            "prompt": TEXT,
            "choices": OPTIONS,
            "answer": TEXT,
            "image_1": IMAGE,
            **dict.fromkeys(IMAGES[1:], IMAGE.or_null),
        },
    ),
    # Images in order, then the authors' own prompt.
    prompt=lambda row: (*(image(row[name]) for name in IMAGES if row[name]), text(row["prompt"])),
    reference=lambda row: row["answer"],
    id=lambda row: row["idx"],
    cluster=lambda row: row["idx"],
    groups={"subtask": lambda row: row["config"]},
    meta=lambda row: {"question": row["question"], "options": lettered(row["choices"])},
    metric=BlinkAccuracy(),
    max_new_tokens=64,
    size=1901,
    licence="Apache-2.0",
    citation="Fu et al., BLINK: Multimodal Large Language Models Can See but Not Perceive, ECCV 2024 "
    "(arXiv:2404.12390)",
    notes="The score is the unweighted mean of the fourteen tasks, as the authors publish it; `acc` is the "
    "mean over questions. Where the authors ask GPT-3.5 to read an answer, rules do it here.",
    lmms_eval_notes="`blink` takes the first letter of any text for the choice, so that sentences are "
    "misread (18.2 for GPT-4V's responses, officially 51.1); for bare letters both agree. Ours follows the "
    "official script.",
    example={
        "config": "Relative_Depth",
        "idx": "val_Relative_Depth_1",
        "question": "Which point is closer to the camera?",
        "prompt": "Which point is closer to the camera?\nSelect from the following choices.\n(A) A\n(B) B",
        "choices": ["A", "B"],
        "answer": "(B)",
        "image_1": {"bytes": None, "path": "room.jpg"},
        **dict.fromkeys(IMAGES[1:]),
    },
)
