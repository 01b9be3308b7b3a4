"""TextVQA test: no public answers; writes the file that EvalAI takes."""

from evalkit.benchmarks.submissions import TEXTVQA
from evalkit.benchmarks.wording import short_answer
from evalkit.core.columns import IMAGE, NAME, TEXT
from evalkit.metrics.unscored import Unscored
from evalkit.task import HubDataset, Task, image

task = Task(
    name="textvqa_test",
    category="image",
    title="TextVQA test (submission)",
    dataset=HubDataset(
        "lmms-lab-encoder/textvqa",
        split="test",
        aliases=("lmms-lab/textvqa",),
        columns={"question_id": NAME, "image_id": TEXT, "question": TEXT, "image": IMAGE},
    ),
    prompt=lambda row: (image(row["image"]), short_answer(row["question"])),
    reference=lambda row: None,
    id=lambda row: str(row["question_id"]),
    cluster=lambda row: row["image_id"],
    meta=lambda row: {"question": row["question"]},
    metric=Unscored(),
    submission=TEXTVQA,
    max_new_tokens=32,
    size=5734,
    tags=("submission",),
    licence="CC-BY-4.0",
    citation="Singh et al., Towards VQA Models That Can Read, CVPR 2019 (arXiv:1904.08920)",
    notes="OCR tokens are not shown to the model.",
    example={
        "question_id": 39602,
        "image_id": "003a8ae2",
        "question": "what does the sign say?",
        "image": {"bytes": None, "path": "sign.jpg"},
    },
)
