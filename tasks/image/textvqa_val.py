"""TextVQA validation: questions about text in photos, with the answers of ten people each."""

from evalkit.benchmarks.wording import short_answer
from evalkit.core.columns import ANSWERS, IMAGE, NAME, TEXT
from evalkit.metrics.vqa import VqaAccuracy
from evalkit.task import HubDataset, Task, image

task = Task(
    name="textvqa_val",
    category="image",
    title="TextVQA val",
    paper_row="TextVQA",
    dataset=HubDataset(
        "lmms-lab-encoder/textvqa",
        split="validation",
        aliases=("lmms-lab/textvqa",),
        columns={"question_id": NAME, "image_id": TEXT, "question": TEXT, "image": IMAGE, "answers": ANSWERS},
    ),
    prompt=lambda row: (image(row["image"]), short_answer(row["question"])),
    reference=lambda row: list(row["answers"]),
    id=lambda row: str(row["question_id"]),
    cluster=lambda row: row["image_id"],
    meta=lambda row: {"question": row["question"]},
    metric=VqaAccuracy(),
    max_new_tokens=32,
    size=5000,
    licence="CC-BY-4.0",
    citation="Singh et al., Towards VQA Models That Can Read, CVPR 2019 (arXiv:1904.08920)",
    notes="OCR tokens are not shown to the model; they inflate the score.",
    lmms_eval_notes="`textvqa_val` gives the same score (0 of 10,000 answers differ), but its prompt "
    "lower-cases the question's names.",
    example={
        "question_id": 34602,
        "image_id": "003a8ae2",
        "question": "what does the sign say?",
        "answers": ["stop"] * 8 + ["stop sign", "halt"],
        "image": {"bytes": None, "path": "sign.jpg"},
    },
)
