"""Mini-suite: clips as in ``mini_video``, longer than any that the zoo is trained on."""

from evalkit.benchmarks.options import lettered
from evalkit.metrics import letters
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Task, text, video
from evalkit.zoo.minisuite import MiniDataset

task = Task(
    name="mini_video_long",
    category="video",
    title="Mini Video, longer clips",
    dataset=MiniDataset("mini_video_long", n=120),
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
    size=120,
    tags=("mini",),
    licence="Apache-2.0",
    notes="Synthetic: 8 and 12 seconds; the built-in tiny models were trained on 3 to 6. Chance is 25%.",
)
