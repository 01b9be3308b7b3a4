"""MathVista testmini: mathematics in figures, charts, puzzles and text books."""

from collections.abc import Callable, Mapping

from evalkit.benchmarks.options import lettered
from evalkit.core.columns import IMAGE, NAME, NUMBER, OPTIONS, RECORD, TEXT
from evalkit.metrics.mathvista import MathVistaAccuracy
from evalkit.task import HubDataset, Row, Task, image, text


def options(row: Row) -> dict[str, str]:
    """Choices by letter; none for a free-form question."""
    return lettered(row["choices"] or ())


def _label(name: str) -> Callable[[Row], str | tuple[str, ...]]:
    def read(row: Row) -> str | tuple[str, ...]:
        value = row["metadata"][name]
        return str(value) if isinstance(value, str | int) else tuple(value or ())

    return read


# The official breakdowns.
LABELS: Mapping[str, Callable[[Row], str | tuple[str, ...]]] = {
    name: _label(name) for name in ("task", "category", "context", "source", "grade", "language", "skills")
}

task = Task(
    name="mathvista_testmini",
    category="image",
    title="MathVista testmini",
    dataset=HubDataset(
        "AI4Math/MathVista",
        split="testmini",
        columns={
            "pid": NAME,
            "query": TEXT,
            "question": TEXT,
            "image": TEXT,
            "decoded_image": IMAGE,
            "choices": OPTIONS.or_null,
            "precision": NUMBER.or_null,
            "answer": TEXT,
            "question_type": TEXT,
            "answer_type": TEXT,
            "metadata": RECORD,
        },
    ),
    # `query` is the authors' prompt: a hint at the form of the answer, the question, its choices.
    prompt=lambda row: (image(row["decoded_image"]), text(row["query"])),
    reference=lambda row: row["answer"],
    id=lambda row: str(row["pid"]),
    cluster=lambda row: row["image"],
    groups={
        "question_type": lambda row: row["question_type"],
        "answer_type": lambda row: row["answer_type"],
        **LABELS,
    },
    links={"precision": lambda row: row["precision"]},
    meta=lambda row: {"question": row["question"], "options": options(row)},
    metric=MathVistaAccuracy(),
    max_new_tokens=512,
    size=1000,
    licence="CC-BY-SA-4.0",
    citation="Lu et al., MathVista: Evaluating Mathematical Reasoning of Foundation Models in Visual "
    "Contexts, ICLR 2024 (arXiv:2310.02255)",
    notes="The official protocol has a language model extract the answer; rules do it here, so scores of "
    "models that reason aloud are a lower bound of the official ones.",
    lmms_eval_notes="`mathvista_testmini_*` needs a language model to extract answers. Ours extracts by "
    "rule; the score step is the official one.",
    example={
        "pid": "1",
        "query": "Hint: Please answer the question requiring an integer answer and provide the final value, "
        "e.g., 1, 2, 3, at the end.\nQuestion: How many cubes are there?",
        "question": "How many cubes are there?",
        "image": "images/1.jpg",
        "decoded_image": {"bytes": None, "path": "cubes.jpg"},
        "choices": None,
        "precision": None,
        "answer": "7",
        "question_type": "free_form",
        "answer_type": "integer",
        "metadata": {
            "task": "visual question answering",
            "category": "general-vqa",
            "context": "synthetic scene",
            "source": "CLEVR-Math",
            "grade": "elementary school",
            "language": "english",
            "skills": ["arithmetic reasoning"],
        },
    },
)
