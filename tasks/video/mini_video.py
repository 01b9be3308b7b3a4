"""Mini-suite: clips of moving or appearing squares, encoded on the spot, in Video-MME's schema."""

from evalkit.benchmarks.options import lettered
from evalkit.metrics import letters
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Task, text, video
from evalkit.zoo.minisuite import MiniDataset

task = Task(
    name="mini_video",
    category="video",
    title="Mini Video",
    dataset=MiniDataset("mini_video", n=240),
    prompt=lambda row: (video(row["video"]), text("\n".join((row["question"], *row["options"])))),
    reference=lambda row: row["answer"],
    id=lambda row: row["question_id"],
    cluster=lambda row: row["videoID"],
    groups={
        "duration": lambda row: row["duration"],
        "task_type": lambda row: row["task_type"],
        "shape": lambda row: row["sub_category"],
    },
    meta=lambda row: {"question": row["question"], "options": lettered(row["options"], written=True)},
    metric=MultipleChoice(letters.video_mme, answered=True),
    max_new_tokens=4,
    size=240,
    tags=("mini",),
    licence="Apache-2.0",
    notes="Synthetic: which way a square moves, and which appears first or last; chance is 25%.",
)
