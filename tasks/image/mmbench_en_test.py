"""MMBench test in English: no public answers; writes the spreadsheet that the MMBench server takes."""

from evalkit.benchmarks import mmbench
from evalkit.benchmarks.submissions import MMBENCH
from evalkit.benchmarks.wording import choice
from evalkit.metrics.unscored import Unscored
from evalkit.task import Task, image

task = Task(
    name="mmbench_en_test",
    category="image",
    title="MMBench EN test (submission)",
    dataset=mmbench.repository("en", "test"),
    expand=mmbench.rotations,
    prompt=lambda row: (image(row["image"]), choice(row["question"], row["options"], mmbench.hint(row))),
    reference=lambda row: None,
    id=lambda row: str(row["index"]),
    cluster=lambda row: row["circular_group"],
    groups=mmbench.GROUPS,
    meta=lambda row: {"question": row["question"], "options": row["options"]},
    metric=Unscored(),
    submission=MMBENCH,
    max_new_tokens=64,
    tags=("submission",),
    licence=mmbench.LICENCE,
    citation=mmbench.CITATION,
    notes="Every rotation of every question is answered. The repository has 6,666 rows; "
    "whether all rotations are among them could not be verified.",
    example=mmbench.EXAMPLE,
)
