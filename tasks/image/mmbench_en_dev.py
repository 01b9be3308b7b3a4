"""MMBench dev in English: every question under every rotation of its options."""

from evalkit.benchmarks import mmbench
from evalkit.benchmarks.wording import choice
from evalkit.metrics.circular import CircularAccuracy
from evalkit.task import Task, image

task = Task(
    name="mmbench_en_dev",
    category="image",
    title="MMBench EN dev",
    paper_row="MMBench_avg",
    dataset=mmbench.repository("en", "dev"),
    expand=mmbench.rotations,
    prompt=lambda row: (image(row["image"]), choice(row["question"], row["options"], mmbench.hint(row))),
    reference=lambda row: row["answer"],
    id=lambda row: str(row["index"]),
    cluster=lambda row: row["circular_group"],
    unit=lambda row: row["circular_group"],
    groups=mmbench.GROUPS,
    links={"circular_group": lambda row: row["circular_group"]},
    meta=lambda row: {"question": row["question"], "options": row["options"]},
    metric=CircularAccuracy(),
    max_new_tokens=64,
    size=mmbench.DEV_SIZE,
    licence=mmbench.LICENCE,
    citation=mmbench.CITATION,
    notes=mmbench.NOTES,
    lmms_eval_notes="`mmbench_en_dev` asks GPT where its rules fail, `mmbench_en_dev_static` doesn't; both know the "
    "letters A to D only. Ours follows VLMEvalKit's exact matching.",
    example=mmbench.EXAMPLE,
)
