"""BLINK test: no public answers; writes the file that EvalAI takes."""

from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.submissions import BLINK
from evalkit.core.columns import IMAGE, OPTIONS, TEXT
from evalkit.metrics.blink import SUBTASKS
from evalkit.metrics.unscored import Unscored
from evalkit.task import HubDataset, Task, image, text

IMAGES = ("image_1", "image_2", "image_3", "image_4")

task = Task(
    name="blink_test",
    category="image",
    title="BLINK test (submission)",
    dataset=HubDataset(
        "BLINK-Benchmark/BLINK",
        config=SUBTASKS,
        split="test",
        columns={
            "idx": TEXT,
            "question": TEXT,
            "prompt": TEXT,
            "choices": OPTIONS,
            "image_1": IMAGE,
            **dict.fromkeys(IMAGES[1:], IMAGE.or_null),
        },
    ),
    prompt=lambda row: (*(image(row[name]) for name in IMAGES if row[name]), text(row["prompt"])),
    reference=lambda row: None,
    id=lambda row: row["idx"],
    cluster=lambda row: row["idx"],
    groups={"subtask": lambda row: row["config"]},
    meta=lambda row: {"question": row["question"], "options": lettered(row["choices"])},
    metric=Unscored(),
    submission=BLINK,
    max_new_tokens=64,
    size=1906,
    tags=("submission",),
    licence="Apache-2.0",
    citation="Fu et al., BLINK: Multimodal Large Language Models Can See but Not Perceive, ECCV 2024 "
    "(arXiv:2404.12390)",
    notes="An answer in which no option can be read is written as (Z). Their number is that of all, 3,807 "
    "in the paper and on the hub, less the 1,901 of val; 1,907 has been written, too.",
    example={
        "config": "Relative_Depth",
        "idx": "test_Relative_Depth_1",
        "question": "Which point is closer to the camera?",
        "prompt": "Which point is closer to the camera?\nSelect from the following choices.\n(A) A\n(B) B",
        "choices": ["A", "B"],
        "answer": "hidden",
        "image_1": {"bytes": None, "path": "room.jpg"},
        **dict.fromkeys(IMAGES[1:]),
    },
)
