"""EgoSchema, all questions: few public answers; writes the file that its Kaggle competition takes."""

from evalkit.benchmarks import egoschema
from evalkit.benchmarks.submissions import EGOSCHEMA
from evalkit.benchmarks.video_choice import by_letter
from evalkit.metrics.unscored import Unscored
from evalkit.task import Task, text, video

task = Task(
    name="egoschema",
    category="video",
    title="EgoSchema (submission)",
    dataset=egoschema.repository("MC"),
    prompt=lambda row: (video(row["path"]), text(by_letter(row["question"], egoschema.options(row)))),
    reference=lambda row: None,
    id=lambda row: row["video_idx"],
    cluster=lambda row: row["video_idx"],
    meta=egoschema.meta,
    metric=Unscored(),
    submission=EGOSCHEMA,
    max_new_tokens=16,
    size=5031,
    tags=("submission",),
    licence=egoschema.LICENCE,
    citation=egoschema.CITATION,
    notes="An answer in which no option can be read is written as -1. `egoschema_subset` scores the 500 "
    "questions whose answers are public.",
    example=egoschema.EXAMPLE,
)
