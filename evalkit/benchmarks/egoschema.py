"""What the two EgoSchema tasks share: one question about each three-minute clip, five options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.benchmarks.options import lettered
from evalkit.core.columns import NAME, OPTIONS, TEXT
from evalkit.data.hub import HubDataset

Row = Mapping[str, Any]

LICENCE = "unverified (annotations); clips under Ego4D's licence"
CITATION = (
    "Mangalam et al., EgoSchema: A Diagnostic Benchmark for Very Long-form Video Language Understanding, "
    "NeurIPS 2023 Datasets and Benchmarks (arXiv:2308.09126)"
)


EXAMPLE: Row = {
    "question_idx": "0",
    "video_idx": "0074f737-11cb-497d-8d07-77c3a8127391",
    "question": "What does C mainly do in the video?",
    "option": ["A. C cooks.", "B. C cleans.", "C. C repairs a bicycle.", "D. C reads.", "E. C paints."],
    "answer": "2",
    "path": "0074f737-11cb-497d-8d07-77c3a8127391.mp4",
}


def repository(config: str) -> HubDataset:
    """``Subset`` (500 questions with answers) or ``MC`` (all 5,031)."""
    return HubDataset(
        "lmms-eval/egoschema",
        config,
        split="test",
        aliases=("lmms-lab/egoschema",),
        columns={
            "question_idx": NAME,
            "question": TEXT,
            "video_idx": TEXT,
            "option": OPTIONS,
            "answer": NAME if config == "Subset" else NAME.or_null,
        },
        archives=("*.zip",),
        files={"path": tuple(f"{d}{{video_idx}}.{s}" for d in ("videos/", "") for s in ("mp4", "MP4"))},
    )


def options(row: Row) -> dict[str, str]:
    """Options by letter."""
    return lettered(row["option"], written=True)


def meta(row: Row) -> Mapping[str, Any]:
    """What scoring needs besides the letter."""
    return {"question": row["question"], "options": options(row)}
