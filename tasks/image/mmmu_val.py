"""MMMU validation: college-level questions in 30 subjects, with images in questions and options."""

import ast
import re
from collections.abc import Iterator
from typing import Any

from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.wording import PLAIN, choice
from evalkit.core.columns import IMAGE, TEXT, ColumnType
from evalkit.metrics.mmmu import DISCIPLINES, MmmuAccuracy
from evalkit.task import HubDataset, Row, Task, Text, image

IMAGE_COLUMNS = tuple(f"image_{number}" for number in range(1, 8))
_MARK = re.compile(r"(<image (\d+)>)")


def subject(row: Row) -> str:
    """The subject in an id like ``validation_Art_Theory_3``.

    >>> subject({"id": "validation_Art_Theory_3"})
    'Art_Theory'
    """
    return str(row["id"]).split("_", 1)[1].rsplit("_", 1)[0]


def is_choice(row: Row) -> bool:
    """Whether the question has options; the others are answered in a word, number or phrase.

    Raises:
        ValueError: it is of neither kind.
    """
    kind = row["question_type"]
    if kind not in ("multiple-choice", "open"):
        raise ValueError(f"its `question_type` is {kind!r}, neither multiple-choice nor open")
    return bool(kind == "multiple-choice")


def options(row: Row) -> dict[str, str]:
    """Options by letter; the repository stores the list as Python source text."""
    if not is_choice(row):
        return {}
    found = lettered(_listed(row["options"]))
    if not found:
        raise ValueError("a multiple-choice question without options")
    return found


def reference(row: Row) -> str | list[str]:
    """The right letter, or the accepted answers of an open question (one, or a list)."""
    answer = str(row["answer"])
    if is_choice(row) or not answer.startswith("["):
        return answer
    return _listed(answer)


def wording(row: Row) -> Text:
    """The question as Qwen2-VL's evaluation words it, with MMMU's own request for open answers; MMMU's
    own words for the families whose evaluations use them.
    """
    if is_choice(row):
        return choice(row["question"], options(row))
    asked = f"{row['question']}\nAnswer the question using a single word or phrase."
    return Text(f"Question: {asked}", {PLAIN: asked})


def pieces(row: Row) -> Iterator[Text | Any]:
    """Texts and image cells in reading order, the texts with their wording for every family."""
    asked = wording(row)
    forms = {family: _split(row, text) for family, text in asked.by_family.items()}
    for place, piece in enumerate(_split(row, asked.text)):
        if not isinstance(piece, str):
            yield piece
        elif piece:
            yield Text(piece, {family: form[place] for family, form in forms.items()})


def _split(row: Row, wording: str) -> list[str | Any]:
    """Text and images in turn: an image stands where its ``<image k>`` comes first.

    Images that the text doesn't mention come before it; a mark without an image, and a repeated
    one, stays as text. Texts may be empty, so that every wording has the same number of pieces.
    """
    images = {column: row[column] for column in IMAGE_COLUMNS if row.get(column) is not None}
    found: list[str | Any] = []
    text = ""
    parts = _MARK.split(wording)
    for plain, mark, number in zip(parts[::3], [*parts[1::3], ""], [*parts[2::3], ""], strict=True):
        text += plain
        cell = images.pop(f"image_{number}", None)
        if cell is None:
            text += mark
        else:
            found += [text, cell]
            text = ""
    return [*images.values(), *found, text]


def _listed(source: Any) -> list[str]:
    """The texts of a list that is stored as its source text."""
    try:
        values = ast.literal_eval(source) if isinstance(source, str) else source
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(f"this is no list in Python's notation: {source!r}"[:200]) from None
    if not isinstance(values, list | tuple) or not all(
        isinstance(each, str | int | float) for each in values
    ):
        raise ValueError(f"this is no list of texts: {source!r}"[:200])
    return [str(value) for value in values]


DISCIPLINE_OF = {subject: name for name, subjects in DISCIPLINES.items() for subject in subjects}


task = Task(
    name="mmmu_val",
    category="image",
    title="MMMU val",
    paper_row="MMMU",
    dataset=HubDataset(
        "MMMU/MMMU",
        config=tuple(sorted(DISCIPLINE_OF)),
        split="validation",
        columns={
            "id": TEXT,
            "question": TEXT,
            "options": ColumnType(("text", "list of text"), null=True),
            "answer": TEXT,
            "question_type": TEXT,
            "image_1": IMAGE,
            **dict.fromkeys(IMAGE_COLUMNS[1:], IMAGE.or_null),
        },
    ),
    prompt=lambda row: tuple(each if isinstance(each, Text) else image(each) for each in pieces(row)),
    reference=reference,
    id=lambda row: row["id"],
    cluster=lambda row: row["id"],
    groups={
        "discipline": lambda row: DISCIPLINE_OF[subject(row)],
        "subject": subject,
        "question_type": lambda row: row["question_type"],
    },
    meta=lambda row: {"question": row["question"], "options": options(row)},
    metric=MmmuAccuracy(),
    max_new_tokens=512,
    size=900,
    licence="Apache-2.0",
    citation="Yue et al., MMMU: A Massive Multi-discipline Multimodal Understanding Benchmark, CVPR 2024 "
    "(arXiv:2311.16502)",
    notes="Wording of Qwen2-VL's evaluation, but images stand where the text mentions them instead of all "
    "in front. 847 questions are multiple-choice, 53 open.",
    lmms_eval_notes="`mmmu_val` gives 0 to every open question that the official script accepts (issue 1436 "
    "there), takes `A` at the end of any word for option A, and draws an option without a seed where it "
    "reads none. Ours follows the official script.",
    example={
        "id": "validation_Physics_7",
        "question": "What does the gauge in <image 1> show?",
        "options": "['1 bar', '2 bar', '4 bar']",
        "answer": "B",
        "question_type": "multiple-choice",
        "image_1": {"bytes": None, "path": "gauge.png"},
    },
)
