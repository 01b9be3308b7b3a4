"""SEED-Bench, the nine dimensions about single images."""

from evalkit.benchmarks import seedbench
from evalkit.benchmarks.wording import choice
from evalkit.core.columns import IMAGES, NAME, TEXT
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Task, image

task = Task(
    name="seedbench_image",
    category="image",
    title="SEED-Bench image",
    dataset=HubDataset(
        "lmms-lab-encoder/SEED-Bench",
        split="test",
        aliases=("lmms-lab/SEED-Bench",),
        columns={
            "question_id": NAME,
            "question_type_id": NAME,
            "question": TEXT,
            **{f"choice_{letter}": TEXT for letter in "abcd"},
            "answer": TEXT,
            "data_type": TEXT,
            "data_id": NAME,
            "image": IMAGES,
        },
    ),
    expand=seedbench.images_only,
    prompt=lambda row: (image(row["image"][0]), choice(row["question"], seedbench.options(row))),
    reference=lambda row: row["answer"],
    id=lambda row: str(row["question_id"]),
    cluster=lambda row: str(row["data_id"]),
    groups={"dimension": seedbench.dimension},
    meta=lambda row: {"question": row["question"], "options": seedbench.options(row)},
    metric=MultipleChoice(),
    max_new_tokens=16,
    size=14232,
    licence="CC-BY-NC-4.0",
    citation="Li et al., SEED-Bench: Benchmarking Multimodal Large Language Models, CVPR 2024 "
    "(arXiv:2307.16125)",
    notes="The authors rank options by likelihood; here the letter that is generated counts.",
    lmms_eval_notes="`seedbench` takes the first character of the answer, so that `(A)` is wrong. Ours "
    "reads letters as everywhere.",
    example={
        "question_id": "101669",
        "question_type_id": 5,
        "question": "How many towels are there?",
        **{"choice_a": "One", "choice_b": "Two", "choice_c": "Three", "choice_d": "Four"},
        "answer": "B",
        "data_type": "image",
        "data_id": "1454426_2591111986",
        "image": [{"bytes": None, "path": "bathroom.jpg"}],
    },
)
