"""MMStar: 1,500 questions that can't be answered without the image."""

from evalkit.benchmarks.options import given, inline_options
from evalkit.benchmarks.row_ids import content_digest
from evalkit.benchmarks.video_choice import split_question
from evalkit.core.columns import IMAGE, NAME, TEXT
from evalkit.metrics import letters
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Task, image, text

LETTER = "Answer with the option's letter from the given choices directly."


# Most questions list them in one line, 346 of the 1,500 one a line.
def options(row):
    return given(inline_options(row["question"]) or split_question(row["question"])[1])


task = Task(
    name="mmstar",
    category="image",
    title="MMStar",
    paper_row="MMStar",
    dataset=HubDataset(
        "Lin-Chen/MMStar",
        split="val",
        columns={
            "index": NAME,
            "question": TEXT,
            "image": IMAGE,
            "answer": TEXT,
            "category": TEXT,
            "l2_category": TEXT,
        },
    ),
    # The options stand in the question.
    prompt=lambda row: (image(row["image"]), text(f"{row['question']}\n{LETTER}")),
    reference=lambda row: row["answer"],
    id=lambda row: str(row["index"]),
    cluster=lambda row: content_digest(row["image"]["bytes"] or row["image"]["path"]),
    groups={"category": lambda row: row["category"], "l2_category": lambda row: row["l2_category"]},
    meta=lambda row: {"question": row["question"], "options": options(row)},
    metric=MultipleChoice(letters.mmstar),
    max_new_tokens=32,
    size=1500,
    licence="unverified",
    citation="Chen et al., Are We on the Right Way for Evaluating Large Vision-Language Models?, NeurIPS "
    "2024 (arXiv:2403.20330)",
    notes="250 questions in each of six categories, 18 finer ones. The score is the mean over questions; "
    "the mean over the 18 is another number.",
    lmms_eval_notes="`mmstar` averages over the 18 finer categories (52.72 for predictions whose official "
    "score, the mean over questions, is 52.07). Ours follows the official script.",
    example={
        "index": 0,
        "question": "What is on the table?\nOptions: A: a cup, B: a book, C: a lamp, D: nothing",
        "answer": "B",
        "category": "coarse perception",
        "l2_category": "image scene and topic",
        "image": {"bytes": None, "path": "table.jpg"},
    },
)
