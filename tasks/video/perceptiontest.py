"""Perception Test validation, multiple choice: three options about staged videos."""

from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.video_choice import by_letter, letter_at
from evalkit.core.columns import LABELS, NAME, OPTIONS, TEXT
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Task, text, video


def labels(value):
    return (value,) if isinstance(value, str) else tuple(value or ())


task = Task(
    name="perceptiontest",
    category="video",
    title="Perception Test MC val",
    dataset=HubDataset(
        "lmms-eval/PerceptionTest_Val",
        "mc_question_val",
        split="validation",
        aliases=("lmms-lab/PerceptionTest_Val",),
        columns={
            "video_name": TEXT,
            "question": TEXT,
            "question_id": NAME,
            "options": OPTIONS,
            "answer_id": NAME,
            "area": TEXT,
            "reasoning": TEXT,
            "tag": LABELS,
        },
        archives=("*.zip",),
        files={"path": tuple(f"{d}{{video_name}}.{s}" for d in ("videos/", "") for s in ("mp4", "MP4"))},
    ),
    prompt=lambda row: (video(row["path"]), text(by_letter(row["question"], lettered(row["options"])))),
    reference=lambda row: letter_at(row["answer_id"]),
    id=lambda row: f"{row['video_name']}-{row['question_id']}",
    cluster=lambda row: row["video_name"],
    groups={
        "area": lambda row: row["area"],
        "reasoning": lambda row: row["reasoning"],
        "tag": lambda row: labels(row["tag"]),
    },
    meta=lambda row: {"question": row["question"], "options": lettered(row["options"])},
    metric=MultipleChoice(),
    max_new_tokens=16,
    size=19140,
    licence="CC-BY-4.0 (unverified)",
    citation="Patraucean et al., Perception Test: A Diagnostic Benchmark for Multimodal Video Models, "
    "NeurIPS 2023 Datasets and Benchmarks (arXiv:2305.13786)",
    notes="The validation questions: those of the test split are answered on a server.",
    lmms_eval_notes="`perceptiontest_val_mc` takes the article in `A person ...` for option A.",
    example={
        "video_name": "video_8241",
        "question_id": 3,
        "question": "Is the camera moving or static?",
        "options": ["moving", "static or shaking", "I don't know"],
        "answer_id": 1,
        "area": "physics",
        "reasoning": "descriptive",
        "tag": ["motion"],
        "path": "video_8241.mp4",
    },
)
