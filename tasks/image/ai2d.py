"""AI2D test: science diagrams whose labels are masked by letters."""

from evalkit.data.columns import IMAGE, NAME, OPTIONS, TEXT
from evalkit.data.digests import digest
from evalkit.data.options import lettered
from evalkit.data.video_choice import letter_at
from evalkit.data.wording import choice
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
    cluster=lambda row: digest(row["image"]["bytes"] or row["image"]["path"]),
    meta=lambda row: {"question": row["question"], "options": lettered(row["options"])},
    metric=MultipleChoice(),
    max_new_tokens=16,
    size=3088,
    licence="CC-BY-SA-4.0 (unverified)",
    citation="Kembhavi et al., A Diagram Is Worth A Dozen Images, ECCV 2016 (arXiv:1603.07396)",
    notes="The letters of the options are drawn over the diagrams' labels: the harder form, which "
    "Qwen reports.",
    peers="`ai2d` accepts only answers that begin with a letter and a full stop, or equal it: `A) leaf` and "
    "`The answer is A` are wrong there. There is no official script; ours reads letters as everywhere.",
    example={
        "row_number": 0,
        "question": "Which label is the root?",
        "options": ["A", "B", "C", "D"],
        "answer": "2",
        "image": {"bytes": None, "path": "plant.png"},
    },
)
