"""MVBench: twenty tasks that one frame can't answer, prompted as in Qwen's evaluation."""

from evalkit.benchmarks import mvbench
from evalkit.benchmarks.video_choice import letter_of, watch_closely
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Task, text, video

task = Task(
    name="mvbench",
    category="video",
    title="MVBench",
    paper_row="MVBench",
    dataset=mvbench.repository(),
    prompt=lambda row: (
        video(**mvbench.clip(row)),
        text(watch_closely(row["question"], mvbench.options(row))),
    ),
    reference=lambda row: letter_of(row["answer"], row["candidates"], first=True),
    # The repository has no ids.
    id=lambda row: f"{row['config']}-{row['row_number']}",
    cluster=lambda row: f"{mvbench.FOLDERS[row['config']]}/{row['video']}",
    groups={"task": lambda row: row["config"]},
    meta=lambda row: {"question": row["question"], "options": mvbench.options(row)},
    metric=MultipleChoice(),
    max_new_tokens=16,
    size=4000,
    licence="MIT (annotations); videos under the terms of the eleven data sets that they come from",
    citation="Li et al., MVBench: A Comprehensive Multi-modal Video Understanding Benchmark, CVPR 2024 "
    "(arXiv:2311.17005)",
    notes="200 questions in each of 20 tasks, so the mean over questions is the mean over tasks. Clips are "
    "cut to their start and end. The videos of `fine_grained_pose` (NTU RGB+D) must be asked for elsewhere "
    "and be put into `video/nturgbd/`; without them 200 samples are errors.",
    lmms_eval_notes="`mvbench` leaves empty answers out of the denominator and reads the article in `a "
    "person opens the door` as option A. Ours counts both wrong.",
    example={
        "config": "moving_direction",
        "row_number": 0,
        "video": "video_10000.mp4",
        "question": "Which way does the red cube move?",
        "candidates": ["Up and to the left.", "Down and to the right.", "It does not move."],
        "answer": "Down and to the right.",
        "path": "video_10000.mp4",
    },
)
