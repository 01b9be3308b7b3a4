"""LVBench: questions about videos of half an hour and more, prompted as in Qwen's evaluation."""

from evalkit.benchmarks.options import given
from evalkit.benchmarks.video_choice import split_question, watch_closely
from evalkit.core.columns import ANSWERS, NAME, TEXT
from evalkit.metrics import letters
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Task, text, video


def asked(row):
    question, options = split_question(row["question"])
    return question, given(options)


task = Task(
    name="lvbench",
    category="video",
    title="LVBench",
    paper_row="LVBench",
    dataset=HubDataset(
        "lmms-eval/LVBench",
        split="train",
        aliases=("lmms-lab/LVBench",),
        columns={"uid": NAME, "video_path": TEXT, "question": TEXT, "question_type": ANSWERS, "answer": TEXT},
        archives=("*.zip", "**/*.zip"),
        files={"path": tuple(f"{folder}{{video_path}}" for folder in ("", "videos/", "all_videos/"))},
    ),
    prompt=lambda row: (video(row["path"]), text(watch_closely(*asked(row)))),
    reference=lambda row: row["answer"],
    id=lambda row: str(row["uid"]),
    cluster=lambda row: row["video_path"],
    groups={"question_type": lambda row: tuple(row["question_type"])},
    meta=lambda row: dict(zip(("question", "options"), asked(row), strict=True)),
    metric=MultipleChoice(letters.lvbench, answered=True),
    max_new_tokens=16,
    size=1549,
    licence="CC-BY-NC-SA-4.0; academic research only, videos belong to their YouTube authors",
    citation="Wang et al., LVBench: An Extreme Long Video Understanding Benchmark, ICCV 2025 "
    "(arXiv:2406.08035)",
    notes="103 videos, the paper says. A question may have several types and counts in each.",
    lmms_eval_notes="`lvbench` reads the same letters, but gives no scores by type. The official script "
    "leaves out questions without an answer (`official_acc`).",
    example={
        "uid": "128",
        "video_path": "28CIeC8cZks.mp4",
        "question": "What does the host hold up at 15:20?\n(A) a map\n(B) a photo\n(C) a key\n(D) a coin",
        "question_type": ["key information retrieval"],
        "answer": "B",
        "path": "28CIeC8cZks.mp4",
    },
)
