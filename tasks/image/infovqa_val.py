"""InfographicVQA validation: questions about infographics, many of them tall and dense."""

from evalkit.benchmarks.wording import short_answer
from evalkit.core.columns import ANSWERS, IMAGE, LABELS, NAME, TEXT
from evalkit.metrics.anls import Anls
from evalkit.task import HubDataset, Task, image


def labels(value):
    return (value,) if isinstance(value, str) else tuple(value or ())


task = Task(
    name="infovqa_val",
    category="image",
    title="InfoVQA val",
    paper_row="InfoVQA",
    dataset=HubDataset(
        "lmms-lab-encoder/DocVQA",
        "InfographicVQA",
        split="validation",
        aliases=("lmms-lab/DocVQA",),
        columns={
            "questionId": NAME,
            "question": TEXT,
            "image": IMAGE,
            "image_url": TEXT,
            "answers": ANSWERS,
            "answer_type": LABELS,
            "operation/reasoning": LABELS,
        },
    ),
    prompt=lambda row: (image(row["image"]), short_answer(row["question"])),
    reference=lambda row: list(row["answers"]),
    id=lambda row: str(row["questionId"]),
    cluster=lambda row: str(row["image_url"]),
    groups={
        "answer_type": lambda row: labels(row["answer_type"]),
        "operation": lambda row: labels(row["operation/reasoning"]),
    },
    meta=lambda row: {"question": row["question"]},
    metric=Anls(),
    max_new_tokens=32,
    size=2801,
    licence="Apache-2.0 (repository); infographics belong to their publishers",
    citation="Mathew et al., InfographicVQA, WACV 2022 (arXiv:2104.12756)",
    notes="A question may have several types and counts in each.",
    lmms_eval_notes="`infovqa_val` gives the same score for the same answers.",
    example={
        "questionId": "65718",
        "question": "What share of people walk to work?",
        "answers": ["12%"],
        "answer_type": ["single span"],
        "operation/reasoning": [],
        "image_url": "https://example.org/walking.png",
        "image": {"bytes": None, "path": "walking.png"},
    },
)
