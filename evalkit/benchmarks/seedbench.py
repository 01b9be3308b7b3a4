"""SEED-Bench's rows: images and videos in one table, options in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evalkit.benchmarks.options import lettered

Row = Mapping[str, Any]

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
