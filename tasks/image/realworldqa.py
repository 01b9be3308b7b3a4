"""RealWorldQA: photos, many from cars; options, single words and numbers."""

from evalkit.benchmarks.options import option_block
from evalkit.benchmarks.row_ids import content_digest
from evalkit.core.columns import IMAGE, TEXT
from evalkit.metrics.exact import ExactAnswer
from evalkit.task import HubDataset, Task, image, text

task = Task(
    name="realworldqa",
    category="image",
    title="RealWorldQA",
    paper_row="RealWorldQA",
    dataset=HubDataset(
        "lmms-lab-encoder/RealWorldQA",
        split="test",
        aliases=("lmms-lab/RealWorldQA",),
        columns={"question": TEXT, "answer": TEXT, "image": IMAGE},
    ),
    # The question says itself how to answer.
    prompt=lambda row: (image(row["image"]), text(row["question"])),
    reference=lambda row: str(row["answer"]),
    # The repository has no ids.
    id=lambda row: str(row["row_number"]),
    cluster=lambda row: content_digest(row["image"]["bytes"] or row["image"]["path"]),
    meta=lambda row: {"question": row["question"], "options": option_block(row["question"])},
    metric=ExactAnswer(),
    max_new_tokens=16,
    size=765,
    licence="CC-BY-ND-4.0",
    citation="xAI, Grok-1.5 Vision Preview, 2024",
    notes="Letters are read as in any multiple-choice question; words and numbers must be equal but for "
    "case, punctuation, articles and number words.",
    lmms_eval_notes="`realworldqa` compares words and numbers by lower case alone. There is no official "
    "script; ours also equates number words and drops articles and punctuation.",
    example={
        "row_number": 0,
        "question": "In which direction is the front wheel turned?\n\nA. Left.\nB. Straight.\nC. Right.\n"
        "Please answer directly with only the letter of the correct option and nothing else.",
        "answer": "C",
        "image": {"bytes": None, "path": "car.webp"},
    },
)
