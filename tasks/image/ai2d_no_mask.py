"""AI2D test with the diagrams' labels left readable: scores lie about ten points higher."""

from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.row_ids import content_digest
from evalkit.benchmarks.video_choice import letter_at
from evalkit.benchmarks.wording import choice
from evalkit.core.columns import IMAGE, NAME, OPTIONS, TEXT
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Task, image

task = Task(
    name="ai2d_no_mask",
    category="image",
    title="AI2D without masks",
    dataset=HubDataset(
        "Efficient-Large-Model/ai2d-no-mask",
        split="test",
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
    notes="Not comparable with `ai2d`.",
    lmms_eval_notes="`ai2d_no_mask` reads answers as `ai2d` does there: only a leading letter with a full stop, or "
    "nothing but the letter.",
    example={
        "row_number": 0,
        "question": "Which label is the root?",
        "options": ["A", "B", "C", "D"],
        "answer": "2",
        "image": {"bytes": None, "path": "plant.png"},
    },
)
