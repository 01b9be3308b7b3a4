"""EgoSchema's public subset: five-way questions about three-minute egocentric clips."""

from evalkit.benchmarks import egoschema
from evalkit.benchmarks.video_choice import by_letter, letter_at
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Task, text, video

task = Task(
    name="egoschema_subset",
    category="video",
    title="EgoSchema subset",
    dataset=egoschema.repository("Subset"),
    prompt=lambda row: (video(row["path"]), text(by_letter(row["question"], egoschema.options(row)))),
    reference=lambda row: letter_at(row["answer"]),
    id=lambda row: row["video_idx"],
    cluster=lambda row: row["video_idx"],
    meta=egoschema.meta,
    metric=MultipleChoice(),
    max_new_tokens=16,
    size=500,
    licence=egoschema.LICENCE,
    citation=egoschema.CITATION,
    notes="The 500 of 5,031 questions whose answers are public.",
    lmms_eval_notes="`egoschema_subset` draws an option where it reads none.",
    example=egoschema.EXAMPLE,
)
