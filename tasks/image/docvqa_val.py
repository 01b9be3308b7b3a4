"""DocVQA validation: questions about scanned documents, prompted as in Qwen2-VL's evaluation."""

from evalkit.benchmarks.wording import short_answer
from evalkit.core.columns import ANSWERS, IMAGE, LABELS, NAME, TEXT
from evalkit.metrics.anls import Anls
from evalkit.task import HubDataset, Task, image

task = Task(
    name="docvqa_val",
    category="image",
    title="DocVQA val",
    paper_row="DocVQA",
    dataset=HubDataset(
        "lmms-lab-encoder/DocVQA",
        "DocVQA",
        split="validation",
        aliases=("lmms-lab/DocVQA",),
        columns={
            "questionId": NAME,
            "question": TEXT,
            "image": IMAGE,
            "answers": ANSWERS,
            "question_types": LABELS,
            "ucsf_document_id": NAME,
            "ucsf_document_page_no": NAME,
        },
    ),
    prompt=lambda row: (
        image(row["image"]),
        short_answer(row["question"]),
    ),
    reference=lambda row: list(row["answers"]),
    id=lambda row: str(row["questionId"]),
    cluster=lambda row: f"{row['ucsf_document_id']}-{row['ucsf_document_page_no']}",
    groups={"question_type": lambda row: tuple(row["question_types"] or ())},
    meta=lambda row: {"question": row["question"]},
    metric=Anls(),
    max_new_tokens=32,
    size=5349,
    licence="Apache-2.0 (repository); documents from the UCSF Industry Documents Library",
    citation="Mathew et al., DocVQA: A Dataset for VQA on Document Images, WACV 2021 (arXiv:2007.00398)",
    notes="A question may have several types and counts in each.",
    lmms_eval_notes="`docvqa_val` gives the same score: 0 of 3,000 answers differ.",
    example={
        "questionId": "337",
        "question": "What is the date of the letter?",
        "answers": ["12 May 1984", "May 12, 1984"],
        "question_types": ["handwritten"],
        "ucsf_document_id": "ffbf0227",
        "ucsf_document_page_no": "1",
        "image": {"bytes": None, "path": "letter.png"},
    },
)
