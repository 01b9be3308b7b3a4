"""Local mirrors of the grounding benchmarks' repositories: the hub's layout and schemas, drawn pictures.

Every builder writes below ``root`` and returns the rows that it wrote.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mirrors import png, write_corners, write_split

Rows = list[dict[str, Any]]

WIDTH, HEIGHT = 96, 64
# Boxes as corners in pixels with two decimals, as COCO rounds them.
BOXES = ((10.25, 5.5, 40.13, 60.0), (50.0, 8.07, 90.77, 33.3), (0.0, 0.0, 96.0, 64.0))
PHRASES = (
    ("left one", "red thing on the left"),
    ("small one",),
    ("all of it", "everything", "whole picture"),
)


def build_corner_mirror(root: Path, repo: str) -> Rows:
    """A repository like `jxu124/refcocoplus`: annotations of two pictures in `coco/train2014`."""
    rows = []
    for number, (box, phrases) in enumerate(zip(BOXES, PHRASES, strict=True)):
        name = f"COCO_train2014_{580957 + number // 2:012}.jpg"
        target = root / "coco/train2014" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(png((60 * number, 0, 0), (WIDTH, HEIGHT)))
        sentences = [
            {"raw": each.upper(), "sent": each, "sent_id": 10 * number + place, "tokens": each.split()}
            for place, each in enumerate(phrases)
        ]
        rows.append(
            {
                "file_name": name.replace(".jpg", f"_{number}.jpg"),
                "ref_id": 7000 + number,
                "image_id": 580957 + number // 2,
                "split": "val",
                "sentences": sentences,
                "raw_image_info": json.dumps({"file_name": name, "width": WIDTH, "height": HEIGHT}),
                "image_path": f"coco/train2014/{name}",
                "bbox": list(box),
            }
        )
    write_corners(root, repo, rows)
    return rows


def build_extent_mirror(root: Path, repo: str, *splits: str) -> Rows:
    """A repository like `lmms-lab-encoder/RefCOCOplus`, with pictures; boxes as float32 extents. All splits
    hold the same.
    """
    rows = []
    for number, ((x1, y1, x2, y2), phrases) in enumerate(zip(BOXES, PHRASES, strict=True)):
        picture = f"COCO_train2014_{581000 + number // 2:012}"
        rows.append(
            {
                "question_id": str(469306 + number),
                "image": {"bytes": png((0, 60 * number, 0), (WIDTH, HEIGHT)), "path": f"{picture}.jpg"},
                "question": "Please carefully observe the area circled in the image.",
                "answer": list(phrases),
                "segmentation": [x1, y1, x2, y2],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "iscrowd": 0,
                "file_name": f"{picture}_{number}.jpg",
            }
        )
    for split in splits:
        write_split(root, repo, split, rows)
    return rows


def build_grounding_mirrors(root: Path) -> None:
    """Everything that the grounding tasks read."""
    for name in ("refcoco", "refcocoplus", "refcocog"):
        build_corner_mirror(root, f"jxu124/{name}")
    for name in ("RefCOCO", "RefCOCOplus"):
        build_extent_mirror(root, f"lmms-lab-encoder/{name}", "testA", "testB")
    build_extent_mirror(root, "lmms-lab-encoder/RefCOCOg", "test")
    build_screenspot_mirror(root)


def build_screenspot_mirror(root: Path) -> Rows:
    """`rootsautomation/ScreenSpot`: an element of each platform; boxes as shares of the size."""
    rows = [
        {
            "file_name": f"{source}_1.png",
            "bbox": [0.125, 0.25, 0.5, 0.75],
            "instruction": f"close the {source} window",
            "data_type": ("icon", "text")[number % 2],
            "data_source": source,
            "image": {"bytes": png((0, 0, 40 * number), (WIDTH, HEIGHT)), "path": f"{source}_1.png"},
        }
        for number, source in enumerate(("ios", "android", "macos", "windows", "gitlab"))
    ]
    return write_split(root, "rootsautomation/ScreenSpot", "test", rows)
