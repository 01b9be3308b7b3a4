"""STAR validation: situated reasoning about a clip of a household video, in four question types."""

from evalkit.benchmarks import star
from evalkit.benchmarks.video_choice import letter_of, watch_closely
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Task, text, video

task = Task(
    name="star_val",
    category="video",
    title="STAR val",
    paper_row="STAR",
    dataset=star.repository(),
    prompt=lambda row: (
        video(row["path"], float(row["start"]), float(row["end"])),
        text(watch_closely(row["question"], star.options(row))),
    ),
    reference=lambda row: letter_of(row["answer"], star.options(row).values()),
    id=lambda row: f"{row['config']}-{row['row_number']}",
    cluster=lambda row: row["video_id"],
    groups={"question_type": lambda row: row["config"]},
    meta=lambda row: {"question": row["question"], "options": star.options(row)},
    metric=MultipleChoice(macro="question_type"),
    max_new_tokens=16,
    size=7098,
    licence="unverified (annotations); videos under Charades' licence, not for commercial use",
    citation="Wu et al., STAR: A Benchmark for Situated Reasoning in Real-World Videos, NeurIPS 2021 "
    "Datasets and Benchmarks (arXiv:2405.09711)",
    notes="Clips are cut to their start and end. The score is the mean over questions, as recent papers "
    "give it; the official board is titled `Mean`, which may be that of the four types in the breakdown. "
    "3,586 questions about sequences, 2,398 interaction, 624 prediction and 490 feasibility.",
    lmms_eval_notes="lmms-eval has no STAR task.",
    example={
        "config": "interaction",
        "row_number": 0,
        "video_id": "6H78U",
        "question": "Which object was put down by the person?",
        "choices": {"choice_id": [0, 1, 2, 3], "choice": ["The bag.", "The cup.", "The book.", "The box."]},
        "answer": "The cup.",
        "start": 11.1,
        "end": 19.6,
        "path": "6H78U.mp4",
    },
)
