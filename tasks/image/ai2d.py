"""AI2D test: science diagrams whose labels are masked by letters, or left readable (``ai2d_no_mask``)."""

from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.row_ids import content_digest
from evalkit.benchmarks.video_choice import letter_at
from evalkit.benchmarks.wording import choice
from evalkit.core.columns import IMAGE, NAME, OPTIONS, TEXT
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Task, image


def diagram_task(*, repo, aliases=(), **declared):
    """The task of one form of the diagrams, which has a repository of its own."""
    return Task(
        **declared,
        dataset=HubDataset(
            repo,
            split="test",
            aliases=aliases,
            columns={"question": TEXT, "options": OPTIONS, "answer": NAME, "image": IMAGE},
        ),
        prompt=lambda row: (image(row["image"]), choice(row["question"], lettered(row["options"]))),
        reference=lambda row: letter_at(row["answer"]),
        # The repositories have no ids.
        id=lambda row: str(row["row_number"]),
        cluster=lambda row: content_digest(row["image"]["bytes"] or row["image"]["path"]),
        meta=lambda row: {"question": row["question"], "options": lettered(row["options"])},
        metric=MultipleChoice(),
        max_new_tokens=16,
        size=3088,
        licence="CC-BY-SA-4.0 (unverified)",
        citation="Kembhavi et al., A Diagram Is Worth A Dozen Images, ECCV 2016 (arXiv:1603.07396)",
        example={
            "row_number": 0,
            "question": "Which label is the root?",
            "options": ["A", "B", "C", "D"],
            "answer": "2",
            "image": {"bytes": None, "path": "plant.png"},
        },
    )


tasks = (
    diagram_task(
        name="ai2d",
        category="image",
        title="AI2D",
        paper_row="AI2D",
        repo="lmms-lab-encoder/ai2d",
        aliases=("lmms-lab/ai2d",),
        notes="The letters of the options are drawn over the diagrams' labels: the harder form, which Qwen "
        "reports.",
        lmms_eval_notes="`ai2d` accepts only answers that begin with a letter and a full stop, or equal it: "
        "`A) leaf` and `The answer is A` are wrong there. There is no official script; ours reads letters "
        "as everywhere.",
    ),
    # Scores lie about ten points higher.
    diagram_task(
        name="ai2d_no_mask",
        category="image",
        title="AI2D without masks",
        repo="Efficient-Large-Model/ai2d-no-mask",
        notes="Not comparable with `ai2d`.",
        lmms_eval_notes="`ai2d_no_mask` reads answers as `ai2d` does there: only a leading letter with a "
        "full stop, or nothing but the letter.",
    ),
)
