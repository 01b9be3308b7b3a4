"""MLVU: where the videos are, and which options a question has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.benchmarks.options import lettered
from evalkit.benchmarks.video_choice import letter_of, split_question
from evalkit.core.columns import TEXT
from evalkit.data.hub import HubDataset

Row = Mapping[str, Any]


def repository(name: str) -> HubDataset:
    """The multiple-choice questions of a split; the videos lie in zip archives."""
    return HubDataset(
        name,
        split="test",
        columns={"video_name": TEXT, "question": TEXT, "answer": TEXT, "task_type": TEXT},
        archives=("*.zip",),
        files={"path": ("{video_name}", "video/{video_name}", "videos/{video_name}")},
    )


def question(row: Row) -> str:
    """The question without its options."""
    return split_question(row["question"])[0]


def options(row: Row) -> dict[str, str]:
    """Options by letter: those in the question's text, else the candidates beside it."""
    return split_question(row["question"])[1] or lettered(row.get("candidates") or ())


def reference(row: Row) -> str:
    r"""The right letter, from a letter or from the option's text.

    Raises:
        ValueError: it is the letter of one option and the text of another.

    >>> reference({"question": "Q?\n(A) x\n(B) y", "answer": "y"})
    'B'
    """
    answer, found = str(row["answer"]).strip(), options(row)
    bare = answer.strip("().")
    if bare not in found:
        return letter_of(answer, found.values())
    if any(text.strip() == answer for letter, text in found.items() if letter != bare):
        raise ValueError(f"the answer {answer!r} is an option's letter and another one's text")
    return bare
