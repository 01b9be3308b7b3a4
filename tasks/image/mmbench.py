"""MMBench in English and Chinese: every question under every rotation of its options.

``dev`` is scored here; ``test`` has no public answers and writes the spreadsheet that MMBench's server takes.
"""

from evalkit.benchmarks import mmbench
from evalkit.benchmarks.submissions import MMBENCH
from evalkit.benchmarks.wording import choice
from evalkit.metrics.circular import CircularAccuracy
from evalkit.metrics.unscored import Unscored
from evalkit.task import Task, image

DEV = {
    "reference": lambda row: row["answer"],
    "unit": lambda row: row["circular_group"],
    "links": {"circular_group": lambda row: row["circular_group"]},
    "metric": CircularAccuracy(),
    "size": 4329,
    "notes": "A question counts as right only if it is right under every rotation of its options "
    "(CircularEval); `vanilla_acc` takes the questions as written. The table's row is the mean of English "
    "and Chinese. VLMEvalKit asks GPT where its rules read no letter; such answers are wrong here. 4,329 "
    "rows with rotations, which are said to be of 1,164 questions (unverified).",
}
TEST = {
    "reference": lambda row: None,
    "metric": Unscored(),
    "submission": MMBENCH,
    "notes": "Every rotation of every question is answered. The repository has 6,666 rows; whether all "
    "rotations are among them could not be verified.",
}


def circular_task(*, language, split, **declared):
    """The task of one language (``en`` or ``cn``) and split."""
    return Task(
        **(DEV if split == "dev" else TEST),
        **declared,
        dataset=mmbench.repository(language, split),
        expand=mmbench.rotations,
        prompt=lambda row: (image(row["image"]), choice(row["question"], row["options"], mmbench.hint(row))),
        id=lambda row: str(row["index"]),
        cluster=lambda row: row["circular_group"],
        groups={
            "l2_category": lambda row: str(row["L2-category"]),
            "category": lambda row: str(row["category"]),
        },
        meta=lambda row: {"question": row["question"], "options": row["options"]},
        max_new_tokens=64,
        licence="Apache-2.0 (unverified)",
        citation="Liu et al., MMBench: Is Your Multi-modal Model an All-around Player?, ECCV 2024 "
        "(arXiv:2307.06281)",
        example={
            "index": 241,
            "question": "Which animal is in front of the house?",
            "hint": "nan",
            **{"A": "a cat", "B": "a dog", "C": "a horse", "D": "nan"},
            "answer": "B",
            "category": "object_localization",
            "L2-category": "finegrained_perception (instance-level)",
            "image": {"bytes": None, "path": "house.jpg"},
        },
    )


tasks = (
    circular_task(
        name="mmbench_cn_dev",
        category="image",
        title="MMBench CN dev",
        paper_row="MMBench_avg",
        language="cn",
        split="dev",
        lmms_eval_notes="`mmbench_cn_dev` asks GPT where its rules fail. Ours follows VLMEvalKit's exact "
        "matching.",
    ),
    circular_task(
        name="mmbench_en_dev",
        category="image",
        title="MMBench EN dev",
        paper_row="MMBench_avg",
        language="en",
        split="dev",
        lmms_eval_notes="`mmbench_en_dev` asks GPT where its rules fail, `mmbench_en_dev_static` doesn't; "
        "both know the letters A to D only. Ours follows VLMEvalKit's exact matching.",
    ),
    circular_task(
        name="mmbench_cn_test",
        category="image",
        title="MMBench CN test (submission)",
        tags=("submission",),
        language="cn",
        split="test",
    ),
    circular_task(
        name="mmbench_en_test",
        category="image",
        title="MMBench EN test (submission)",
        tags=("submission",),
        language="en",
        split="test",
    ),
)
