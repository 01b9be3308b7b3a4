"""SEED-Bench's rows: images and videos in one table, options in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evalkit.data.options import lettered

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
    """The row, if it is about an image."""
    if row["data_type"] == "image":
        yield row


def options(row: Row) -> dict[str, str]:
    """Options by letter."""
    return lettered(row[f"choice_{letter}"] for letter in "abcd")


def dimension(row: Row) -> str:
    """The name of the row's question type.

    >>> dimension({"question_type_id": 5})
    'Instances Counting'
    """
    return DIMENSIONS[int(row["question_type_id"]) - 1]
