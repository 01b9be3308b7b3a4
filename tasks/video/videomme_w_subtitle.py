"""Video-MME with subtitles: only those that are on screen in one of the frames shown."""

from evalkit.benchmarks import videomme
from evalkit.metrics import letters
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Task, video

task = Task(
    name="videomme_w_subtitle",
    category="video",
    title="Video-MME with subtitles",
    dataset=videomme.repository(),
    prompt=lambda row: (video(row["video"]), videomme.with_subtitles(row)),
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
    notes="744 of the 900 videos have subtitles; the prompt of the others, and of those with no subtitle "
    "on screen in any frame shown, is that of `videomme`.",
    lmms_eval_notes="`videomme_w_subtitle` asks for a single word or phrase by default, and shows other subtitles. "
    "Ours shows those of the frames that the model is shown, as the authors say.",
    example=videomme.EXAMPLE,
)
