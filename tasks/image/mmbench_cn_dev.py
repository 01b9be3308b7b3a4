"""MMBench dev in Chinese: every question under every rotation of its options."""

from evalkit.benchmarks import mmbench
from evalkit.benchmarks.wording import choice
from evalkit.metrics.circular import CircularAccuracy
from evalkit.task import Task, image

task = Task(
    name="mmbench_cn_dev",
    category="image",
    title="MMBench CN dev",
    paper_row="MMBench_avg",
    dataset=mmbench.repository("cn", "dev"),
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
    lmms_eval_notes="`mmbench_cn_dev` asks GPT where its rules fail. Ours follows VLMEvalKit's exact matching.",
    example=mmbench.EXAMPLE,
)
