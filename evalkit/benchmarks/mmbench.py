"""MMBench's rows: hints, options in columns, and CircularEval's rotations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from evalkit.benchmarks.options import without_gaps
from evalkit.core.columns import IMAGE, LABEL, TEXT, WHOLE
from evalkit.data.hub import HubDataset

Row = Mapping[str, Any]

# A rotation's index is that of its question plus this, times its number.
_STEP = 1_000_000


def repository(language: str, split: str) -> HubDataset:
    """One language (``en`` or ``cn``) and split."""
    columns = {
        "index": WHOLE,
        "image": IMAGE,
        **dict.fromkeys(("question", "A", "B", "category", "L2-category"), TEXT),
        **dict.fromkeys(("hint", "C", "D"), LABEL.or_null),
    }
    answers = {"answer": TEXT} if split == "dev" else {}
    return HubDataset(
        "lmms-lab-encoder/MMBench",
        language,
        split=split,
        aliases=("lmms-lab/MMBench",),
        columns=columns | answers,
    )


def rotations(row: Row) -> Iterator[Row]:
    """A question with its ``options`` by letter, then its rotations: rotation k begins with option k.

    Rotations that the repository holds itself are left out, so that each comes once.

    Raises:
        ValueError: an option is missing before others, the answer is none of them, or the index is neither a
            question's nor a rotation's.

    >>> row = {"index": 7, "A": "x", "B": "y", "C": "z", "D": "nan", "answer": "C"}
    >>> [(each["index"], each["options"]["A"], each["answer"]) for each in rotations(row)]
    [(7, 'x', 'C'), (1000007, 'y', 'B'), (2000007, 'z', 'A')]
    """
    index = int(row["index"])
    if not 0 <= index < len("ABCD") * _STEP:
        raise ValueError(f"its index is {index}, neither a question's nor a rotation's")
    if index >= _STEP:
        return
    texts = [str(text) for text in without_gaps((row[letter] for letter in "ABCD"), _is_missing)]
    right = row.get("answer")
    if len(texts) < 2:
        raise ValueError(f"it has {len(texts)} options")
    if right and right not in "ABCD"[: len(texts)]:
        raise ValueError(f"its answer is {right!r}, which none of its {len(texts)} options has")
    for shift in range(len(texts)):
        turned = texts[shift:] + texts[:shift]
        answer = right and chr(ord("A") + (ord(right) - ord("A") - shift) % len(texts))
        options = dict(zip("ABCD", turned, strict=False))
        yield {
            **row,
            "index": index + shift * _STEP,
            "circular_group": str(index),
            "options": options,
            "answer": answer,
        }


def hint(row: Row) -> str:
    """What the question says beforehand, or nothing.

    >>> hint({"hint": "nan"})
    ''
    """
    return "" if _is_missing(row["hint"]) else str(row["hint"])


def _is_missing(value: Any) -> bool:
    return value is None or value in ("", "nan") or (isinstance(value, float) and math.isnan(value))
