"""BLINK validation: fourteen visual tasks that people solve at a glance, up to four images each."""

from evalkit.data.options import lettered
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
        columns=("idx", "question", "prompt", "choices", "answer", *IMAGES),
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
    notes="The score is the unweighted mean of the fourteen tasks, as the authors publish it; `acc` "
    "is the mean "
    "over questions. Where the authors ask GPT-3.5 to read an answer, rules do it here.",
)
