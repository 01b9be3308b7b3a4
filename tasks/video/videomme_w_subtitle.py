"""Video-MME with subtitles: only those that are on screen in one of the frames shown."""

from evalkit.data import videomme
from evalkit.data.frame_times import shown_times
from evalkit.metrics import letters
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Task, text, video


def prompt(row):
    subtitles = videomme.subtitles_shown(row, shown_times)
    return (video(row["video"]), text(videomme.wording(row, subtitles)))


task = Task(
    name="videomme_w_subtitle",
    category="video",
    title="Video-MME with subtitles",
    dataset=videomme.repository(),
    prompt=prompt,
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
    peers="`videomme_w_subtitle` asks for a single word or phrase by default, and shows other subtitles. "
    "Ours shows those of the sampled frames, as the authors say.",
    example=videomme.EXAMPLE,
)
