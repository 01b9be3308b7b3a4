"""Video-MME without subtitles: multiple-choice questions about short, medium and long videos."""

from evalkit.benchmarks import videomme
from evalkit.metrics import letters
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Task, text, video

task = Task(
    name="videomme",
    category="video",
    title="Video-MME",
    paper_row="VideoMME",
    dataset=videomme.repository(),
    prompt=lambda row: (video(row["video"]), text(videomme.wording(row))),
    reference=lambda row: row["answer"],
    id=lambda row: row["question_id"],
    cluster=lambda row: row["videoID"],
    groups=videomme.GROUPS,
    meta=videomme.meta,
    metric=MultipleChoice(letters.video_mme, answered=True),
    max_new_tokens=16,
    size=videomme.SIZE,
    licence=videomme.LICENCE,
    citation=videomme.CITATION,
    notes="900 videos, 300 of each duration class, three questions each.",
    lmms_eval_notes="`videomme` divides by all questions, as `acc` does here, and reads 23 of 270 constructed answers "
    "otherwise; the official script divides by the answered ones (`official_acc`).",
    example=videomme.EXAMPLE,
)
