"""MMBench in English and Chinese: every question under every rotation of its options.

``dev`` is scored here; ``test`` has no public answers and writes the spreadsheet that MMBench's server takes.
"""

import math
from collections.abc import Iterator
from typing import Any

from evalkit.benchmarks.options import without_gaps
from evalkit.benchmarks.submissions import MMBENCH
from evalkit.benchmarks.wording import choice
from evalkit.core.columns import IMAGE, LABEL, TEXT, WHOLE
from evalkit.metrics.circular import CircularAccuracy
from evalkit.metrics.unscored import Unscored
from evalkit.task import HubDataset, Row, Task, image

# A rotation's index is that of its question plus this, times its number.
_STEP = 1_000_000


def repository(language: str, split: str) -> HubDataset:
    """One language (``en`` or ``cn``) and split."""
    columns = {
        "index": WHOLE,
        "image": IMAGE,
        **dict.fromkeys(("question", "A", "B", "category", "L2-category"), TEXT),
        **dict.fromkeys(("hint", "C", "D"), LABEL.or_null),
    }
    answers = {"answer": TEXT} if split == "dev" else {}
    return HubDataset(
        "lmms-lab-encoder/MMBench",
        language,
        split=split,
        aliases=("lmms-lab/MMBench",),
        columns=columns | answers,
    )


def rotations(row: Row) -> Iterator[Row]:
    """A question with its ``options`` by letter, then its rotations: rotation k begins with option k.

    Rotations that the repository holds itself are left out, so that each comes once.

    Raises:
        ValueError: an option is missing before others, the answer is none of them, or the index is neither a
            question's nor a rotation's.

    >>> row = {"index": 7, "A": "x", "B": "y", "C": "z", "D": "nan", "answer": "C"}
    >>> [(each["index"], each["options"]["A"], each["answer"]) for each in rotations(row)]
    [(7, 'x', 'C'), (1000007, 'y', 'B'), (2000007, 'z', 'A')]
    """
    index = int(row["index"])
    if not 0 <= index < len("ABCD") * _STEP:
        raise ValueError(f"its index is {index}, neither a question's nor a rotation's")
    if index >= _STEP:
        return
    texts = [str(text) for text in without_gaps((row[letter] for letter in "ABCD"), _is_missing)]
    right = row.get("answer")
    if len(texts) < 2:
        raise ValueError(f"it has {len(texts)} options")
    if right and right not in "ABCD"[: len(texts)]:
        raise ValueError(f"its answer is {right!r}, which none of its {len(texts)} options has")
    for shift in range(len(texts)):
        turned = texts[shift:] + texts[:shift]
        answer = right and chr(ord("A") + (ord(right) - ord("A") - shift) % len(texts))
        options = dict(zip("ABCD", turned, strict=False))
        yield {
            **row,
            "index": index + shift * _STEP,
            "circular_group": str(index),
            "options": options,
            "answer": answer,
        }


def hint(row: Row) -> str:
    """What the question says beforehand, or nothing.

    >>> hint({"hint": "nan"})
    ''
    """
    return "" if _is_missing(row["hint"]) else str(row["hint"])


def _is_missing(value: Any) -> bool:
    return value is None or value in ("", "nan") or (isinstance(value, float) and math.isnan(value))


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
        dataset=repository(language, split),
        expand=rotations,
        prompt=lambda row: (image(row["image"]), choice(row["question"], row["options"], hint(row))),
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
