"""DocVQA test: no public answers; writes the file that the Robust Reading Competition takes."""

from evalkit.benchmarks.submissions import RRC
from evalkit.benchmarks.wording import short_answer
from evalkit.core.columns import IMAGE, NAME, TEXT
from evalkit.metrics.unscored import Unscored
from evalkit.task import HubDataset, Task, image

task = Task(
    name="docvqa_test",
    category="image",
    title="DocVQA test (submission)",
    dataset=HubDataset(
        "lmms-lab-encoder/DocVQA",
        "DocVQA",
        split="test",
        aliases=("lmms-lab/DocVQA",),
        columns={
            "questionId": NAME,
            "question": TEXT,
            "image": IMAGE,
            "ucsf_document_id": NAME,
            "ucsf_document_page_no": NAME,
        },
    ),
    prompt=lambda row: (image(row["image"]), short_answer(row["question"])),
    reference=lambda row: None,
    id=lambda row: str(row["questionId"]),
    cluster=lambda row: f"{row['ucsf_document_id']}-{row['ucsf_document_page_no']}",
    meta=lambda row: {"question": row["question"]},
    metric=Unscored(),
    submission=RRC,
    max_new_tokens=32,
    size=5188,
    tags=("submission",),
    licence="Apache-2.0 (repository); documents from the UCSF Industry Documents Library",
    citation="Mathew et al., DocVQA: A Dataset for VQA on Document Images, WACV 2021 (arXiv:2007.00398)",
    example={
        "questionId": "57344",
        "question": "What is the date of the letter?",
        "ucsf_document_id": "ffbf0227",
        "ucsf_document_page_no": "1",
        "image": {"bytes": None, "path": "letter.png"},
    },
)
