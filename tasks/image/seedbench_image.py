"""SEED-Bench, the nine dimensions about single images."""

from collections.abc import Iterator

from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.wording import choice
from evalkit.core.columns import IMAGES, NAME, TEXT
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import HubDataset, Row, Task, image

# By question type; types 10 to 12 are about videos.
DIMENSIONS = (
    "Scene Understanding",
    "Instance Identity",
    "Instance Attributes",
    "Instance Location",
    "Instances Counting",
    "Spatial Relations",
    "Instance Interaction",
    "Visual Reasoning",
    "Text Understanding",
)


def images_only(row: Row) -> Iterator[Row]:
    """The row, if it is about an image.

    Raises:
        ValueError: it doesn't say what it is about.
    """
    if row["data_type"] not in ("image", "video"):
        raise ValueError(f"its `data_type` is {row['data_type']!r}, neither image nor video")
    if row["data_type"] == "image":
        yield row


def options(row: Row) -> dict[str, str]:
    """Options by letter."""
    return lettered(row[f"choice_{letter}"] for letter in "abcd")


def dimension(row: Row) -> str:
    """The name of the row's question type.

    Raises:
        ValueError: there is none of its number.

    >>> dimension({"question_type_id": 5})
    'Instances Counting'
    """
    number = int(row["question_type_id"])
    if not 1 <= number <= len(DIMENSIONS):
        raise ValueError(f"question type {number} is not about images")
    return DIMENSIONS[number - 1]


task = Task(
    name="seedbench_image",
    category="image",
    title="SEED-Bench image",
    dataset=HubDataset(
        "lmms-lab-encoder/SEED-Bench",
        split="test",
        aliases=("lmms-lab/SEED-Bench",),
        columns={
            "question_id": NAME,
            "question_type_id": NAME,
            "question": TEXT,
            **{f"choice_{letter}": TEXT for letter in "abcd"},
            "answer": TEXT,
            "data_type": TEXT,
            "data_id": NAME,
            "image": IMAGES,
        },
    ),
    expand=images_only,
    prompt=lambda row: (image(row["image"][0]), choice(row["question"], options(row))),
    reference=lambda row: row["answer"],
    id=lambda row: str(row["question_id"]),
    cluster=lambda row: str(row["data_id"]),
    groups={"dimension": dimension},
    meta=lambda row: {"question": row["question"], "options": options(row)},
    metric=MultipleChoice(),
    max_new_tokens=16,
    size=14232,
    licence="CC-BY-NC-4.0",
    citation="Li et al., SEED-Bench: Benchmarking Multimodal Large Language Models, CVPR 2024 "
    "(arXiv:2307.16125)",
    notes="The authors rank options by likelihood; here the letter that is generated counts.",
    lmms_eval_notes="`seedbench` takes the first character of the answer, so that `(A)` is wrong. Ours "
    "reads letters as everywhere.",
    example={
        "question_id": "101669",
        "question_type_id": 5,
        "question": "How many towels are there?",
        **{"choice_a": "One", "choice_b": "Two", "choice_c": "Three", "choice_d": "Four"},
        "answer": "B",
        "data_type": "image",
        "data_id": "1454426_2591111986",
        "image": [{"bytes": None, "path": "bathroom.jpg"}],
    },
)
