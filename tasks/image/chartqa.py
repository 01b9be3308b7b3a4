"""ChartQA test: questions about charts, written by people and generated from captions."""

from evalkit.benchmarks.row_ids import content_digest
from evalkit.benchmarks.wording import short_answer
from evalkit.core.columns import IMAGE, TEXT
from evalkit.metrics.relaxed import RelaxedAccuracy
from evalkit.task import HubDataset, Task, image

SPLITS = {"human_test": "human", "augmented_test": "augmented"}

task = Task(
    name="chartqa",
    category="image",
    title="ChartQA test",
    paper_row="ChartQA",
    dataset=HubDataset(
        "lmms-lab-encoder/ChartQA",
        split="test",
        aliases=("lmms-lab/ChartQA",),
        columns={"type": TEXT, "question": TEXT, "answer": TEXT, "image": IMAGE},
    ),
    prompt=lambda row: (
        image(row["image"]),
        short_answer(row["question"]),
    ),
    reference=lambda row: row["answer"],
    # The repository has no ids, and names no images.
    id=lambda row: str(row["row_number"]),
    cluster=lambda row: content_digest(row["image"]["bytes"] or row["image"]["path"]),
    groups={"split": lambda row: SPLITS.get(row["type"], row["type"])},
    meta=lambda row: {"question": row["question"]},
    metric=RelaxedAccuracy(),
    max_new_tokens=32,
    size=2500,
    licence="GPL-3.0",
    citation="Masry et al., ChartQA: A Benchmark for Question Answering about Charts with Visual and "
    "Logical Reasoning, Findings of ACL 2022 (arXiv:2203.10244)",
    notes="1,250 human and 1,250 augmented questions; the score is the mean over all 2,500.",
    lmms_eval_notes="`chartqa` gives the same score: 0 of 832 answers differ.",
    example={
        "row_number": 0,
        "type": "human_test",
        "question": "What is the highest value?",
        "answer": "42",
        "image": {"bytes": None, "path": "chart.png"},
    },
)
