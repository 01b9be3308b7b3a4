"""The household videos of Charades, which several benchmarks ask about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FOLDER = "Charades_v1_480"
HINT = (
    "the videos are Charades', not part of the repository: unpack "
    "https://ai2-public-datasets.s3-us-west-2.amazonaws.com/charades/Charades_v1_480.zip so that "
    "DATA_ROOT/charades/Charades_v1_480/ holds them, and give `--data-root DATA_ROOT`"
)


def video_paths(column: str) -> tuple[str, ...]:
    """Where the video may lie whose name, without suffix, is in ``column``."""
    name = f"{FOLDER}/{{{column}}}.mp4"
    return (name, f"charades/{name}", f"lmms-eval/charades_sta/{name}", f"lmms-lab/charades_sta/{name}")


def span(row: Mapping[str, Any]) -> list[float]:
    """Start and end in seconds. The repository stores them as float16, which is off by up to 0.06 s;
    the annotations have one decimal.

    >>> span({"timestamp": [24.296875, 30.40625]})
    [24.3, 30.4]
    """
    start, end = row["timestamp"]
    return [round(float(start), 1), round(float(end), 1)]
