"""AI2D test: science diagrams whose labels are masked by letters."""

from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.row_ids import content_digest
from evalkit.benchmarks.video_choice import letter_at
from evalkit.benchmarks.wording import choice
from evalkit.core.columns import IMAGE, NAME, OPTIONS, TEXT
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Task, image

task = Task(
    name="ai2d",
    category="image",
    title="AI2D",
    paper_row="AI2D",
    dataset=HubDataset(
        "lmms-lab-encoder/ai2d",
        split="test",
        aliases=("lmms-lab/ai2d",),
        columns={"question": TEXT, "options": OPTIONS, "answer": NAME, "image": IMAGE},
    ),
    prompt=lambda row: (image(row["image"]), choice(row["question"], lettered(row["options"]))),
    reference=lambda row: letter_at(row["answer"]),
    # The repository has no ids.
    id=lambda row: str(row["row_number"]),
    cluster=lambda row: content_digest(row["image"]["bytes"] or row["image"]["path"]),
    meta=lambda row: {"question": row["question"], "options": lettered(row["options"])},
    metric=MultipleChoice(),
    max_new_tokens=16,
    size=3088,
    licence="CC-BY-SA-4.0 (unverified)",
    citation="Kembhavi et al., A Diagram Is Worth A Dozen Images, ECCV 2016 (arXiv:1603.07396)",
    notes="The letters of the options are drawn over the diagrams' labels: the harder form, which "
    "Qwen reports.",
    lmms_eval_notes="`ai2d` accepts only answers that begin with a letter and a full stop, or equal it: `A) leaf` and "
    "`The answer is A` are wrong there. There is no official script; ours reads letters as everywhere.",
    example={
        "row_number": 0,
        "question": "Which label is the root?",
        "options": ["A", "B", "C", "D"],
        "answer": "2",
        "image": {"bytes": None, "path": "plant.png"},
    },
)
