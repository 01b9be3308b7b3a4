"""LongVideoBench validation: questions that refer to a moment of a video, without subtitles."""

from evalkit.benchmarks.options import lettered, without_gaps
from evalkit.benchmarks.video_choice import by_letter, letter_at
from evalkit.core.columns import LABEL, NAME, TEXT
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Task, text, video


def options(row):
    given = (row[f"option{place}"] for place in range(5))
    return lettered(without_gaps(given, lambda text: text is None or text == "N/A"))


task = Task(
    name="longvideobench",
    category="video",
    title="LongVideoBench val",
    dataset=HubDataset(
        "longvideobench/LongVideoBench",
        split="validation",
        columns={
            "id": TEXT,
            "video_id": TEXT,
            "video_path": TEXT,
            "question": TEXT,
            "correct_choice": NAME,
            "duration_group": NAME,
            "question_category": TEXT,
            **{f"option{place}": TEXT if place < 2 else LABEL.or_null for place in range(5)},
        },
        archives=("videos.tar*",),
        files={"path": ("videos/{video_path}", "{video_path}")},
    ),
    prompt=lambda row: (video(row["path"]), text(by_letter(row["question"], options(row)))),
    reference=lambda row: letter_at(row["correct_choice"]),
    id=lambda row: row["id"],
    cluster=lambda row: row["video_id"],
    groups={
        "duration": lambda row: str(row["duration_group"]),
        "question_category": lambda row: row["question_category"],
    },
    meta=lambda row: {"question": row["question"], "options": options(row)},
    metric=MultipleChoice(),
    max_new_tokens=32,
    size=1337,
    licence="CC-BY-NC-SA-4.0 (gated: accept its terms on the hub, and set HF_TOKEN)",
    citation="Wu et al., LongVideoBench: A Benchmark for Long-context Interleaved Video-Language "
    "Understanding, NeurIPS 2024 Datasets and Benchmarks (arXiv:2407.15754)",
    notes="Durations are upper bounds in seconds: 15, 60, 600, 3600. Two to five options. The official "
    "script draws an option where it can read none; here such an answer is wrong.",
    lmms_eval_notes="`longvideobench_val_v` draws an option without a seed where it reads none.",
    example={
        "id": "86CxyhFV9MI_0",
        "video_id": "86CxyhFV9MI",
        "video_path": "86CxyhFV9MI.mp4",
        "question": "When the subtitle says `here we are`, what stands behind the speaker?",
        **{"option0": "A car", "option1": "A tree", "option2": "A shop", "option3": "N/A", "option4": "N/A"},
        "correct_choice": 1,
        "duration_group": 600,
        "question_category": "T2E",
        "path": "86CxyhFV9MI.mp4",
    },
)
