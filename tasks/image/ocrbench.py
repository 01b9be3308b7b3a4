"""OCRBench: a thousand questions about text, from single words to formulas and forms."""

from evalkit.benchmarks.row_ids import content_digest
from evalkit.core.columns import IMAGE, TEXT, ColumnType
from evalkit.metrics.ocrbench import OcrBenchAccuracy
from evalkit.task import HubDataset, Task, image, text

task = Task(
    name="ocrbench",
    category="image",
    title="OCRBench",
    paper_row="OCRBench",
    dataset=HubDataset(
        "echo840/OCRBench",
        split="test",
        columns={
            "dataset": TEXT,
            "question": TEXT,
            "question_type": TEXT,
            "answer": ColumnType(("list of text", "text")),
            "image": IMAGE,
        },
    ),
    # As its authors ask: nothing but the question.
    prompt=lambda row: (image(row["image"]), text(row["question"])),
    reference=lambda row: [row["answer"]] if isinstance(row["answer"], str) else list(row["answer"]),
    # The repository has no ids.
    id=lambda row: str(row["row_number"]),
    cluster=lambda row: content_digest(row["image"]["bytes"] or row["image"]["path"]),
    groups={"type": lambda row: row["question_type"], "dataset": lambda row: row["dataset"]},
    meta=lambda row: {"question": row["question"]},
    metric=OcrBenchAccuracy(),
    max_new_tokens=128,
    size=1000,
    licence="MIT (code); images under the terms of the 29 data sets that they come from",
    citation="Liu et al., OCRBench: On the Hidden Mystery of OCR in Large Multimodal Models, 2023 "
    "(arXiv:2305.07895)",
    notes="The paper prints a tenth of the official score, that is the share of right answers in percent.",
    lmms_eval_notes="`ocrbench` judges answers alike, but keeps its score in a module, so that a second "
    "aggregation in one process doubles it. Ours follows the official script.",
    example={
        "row_number": 0,
        "dataset": "IIIT5K",
        "question": "what is written in the image?",
        "question_type": "Regular Text Recognition",
        "answer": ["CENTRE"],
        "image": {"bytes": None, "path": "word.png"},
    },
)
