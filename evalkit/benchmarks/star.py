"""STAR's questions, and the Charades videos that they are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.benchmarks.charades import HINT, video_paths
from evalkit.benchmarks.options import lettered
from evalkit.core.columns import NUMBER, TEXT, ColumnType
from evalkit.data.hub import HubDataset

Row = Mapping[str, Any]

CONFIGS = ("interaction", "sequence", "prediction", "feasibility")


def repository() -> HubDataset:
    """Four configurations; the videos are Charades' at 480p, which the repository has not."""
    return HubDataset(
        "zechen-nlp/star_bench",
        CONFIGS,
        split="validation",
        columns={
            "video_id": TEXT,
            "question": TEXT,
            "choices": ColumnType(("list of record", "record")),
            "answer": TEXT,
            "start": NUMBER,
            "end": NUMBER,
        },
        files={"path": video_paths("video_id")},
        files_hint=HINT,
    )


def options(row: Row) -> dict[str, str]:
    """Options by letter, in the order of their numbers; a list of structs or a struct of lists.

    >>> options({"choices": [{"choice_id": 1, "choice": "b"}, {"choice_id": 0, "choice": "a"}]})
    {'A': 'a', 'B': 'b'}
    >>> options({"choices": {"choice_id": [0, 1], "choice": ["a", "b"]}})
    {'A': 'a', 'B': 'b'}

    Raises:
        ValueError: two have the same number.
    """
    choices = row["choices"]
    if isinstance(choices, Mapping):
        numbered = sorted(zip(choices["choice_id"], choices["choice"], strict=True))
    else:
        numbered = sorted((choice["choice_id"], choice["choice"]) for choice in choices)
    numbers = [number for number, _ in numbered]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"the numbers of its choices are {numbers}")
    return lettered(text for _, text in numbered)
