"""What the referring-expression tasks share: one sample per expression, boxes as corners.

Two repositories hold the same annotations in two forms. ``jxu124/refcoco*`` gives boxes as corners
``[x1, y1, x2, y2]`` and names COCO's images; ``lmms-lab-encoder/RefCOCO*`` gives ``[x, y, width, height]``
and holds the images. Both are in pixels of the original image; COCO rounds to two decimals, which
the second stores as float32.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from evalkit.core.columns import IMAGE, NAME, NUMBERS, OPTIONS, RECORDS, TEXT, ColumnType
from evalkit.core.task import Row
from evalkit.data.images import embedded_size

CORNER_COLUMNS: Mapping[str, ColumnType] = {
    "ref_id": NAME,
    "sentences": RECORDS,
    "bbox": NUMBERS,
    "raw_image_info": TEXT,
    "image_path": TEXT,
}
EXTENT_COLUMNS: Mapping[str, ColumnType] = {
    "question_id": NAME,
    "image": IMAGE,
    "answer": OPTIONS,
    "bbox": NUMBERS,
    "file_name": TEXT,
}


def box_size(row: Row) -> str:
    """COCO's bounds for the area of a box: below 32 x 32 pixels, below 96 x 96, or larger."""
    x1, y1, x2, y2 = row["box"]
    area = (x2 - x1) * (y2 - y1)
    return "small" if area < 32**2 else "medium" if area < 96**2 else "large"


def corner_expressions(row: Row) -> Iterator[Row]:
    """One row per expression of a ``jxu124/refcoco*`` object.

    Raises:
        ValueError: it has none.
    """
    if not row["sentences"]:
        raise ValueError("an object without an expression")
    info = json.loads(row["raw_image_info"])
    for sentence in row["sentences"]:
        yield {
            **row,
            "id": f"{row['ref_id']}-{sentence['sent_id']}",
            "phrase": sentence["sent"],
            "box": [round(value, 2) for value in row["bbox"]],
            "size": [info["width"], info["height"]],
            "image_name": PurePosixPath(row["image_path"]).name,
        }


def extent_expressions(row: Row) -> Iterator[Row]:
    """One row per expression of an ``lmms-lab-encoder/RefCOCO*`` object.

    Raises:
        ValueError: it has none.
    """
    if not row["answer"] or isinstance(row["answer"], str):
        raise ValueError(f"an object without a list of expressions: {row['answer']!r}")
    x, y, width, height = row["bbox"]
    # The number after COCO's image name tells the objects of one image apart.
    stem = PurePosixPath(row["file_name"]).stem
    size = embedded_size(row["image"])
    for number, phrase in enumerate(row["answer"]):
        yield {
            **row,
            "id": f"{stem}-{row['question_id']}-{number}",
            "phrase": phrase,
            "box": [round(value, 2) for value in (x, y, x + width, y + height)],
            "size": size,
            "image_name": re.sub(r"(_\d{12})_\d+$", r"\1", stem) + ".jpg",
        }


def meta(row: Row) -> Mapping[str, Any]:
    """The expression, and the size of the original image that boxes are measured in."""
    return {"question": row["phrase"], "image_size": row["size"]}
