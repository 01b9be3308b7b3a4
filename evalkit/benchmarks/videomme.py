"""What the two Video-MME tasks share: the repository, the question's wording, the subtitles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evalkit.benchmarks.options import lettered, option_lines
from evalkit.core.columns import OPTIONS, TEXT
from evalkit.core.types import Subtitled, Text
from evalkit.data.hub import HubDataset
from evalkit.data.subtitles import parse_srt

Row = Mapping[str, Any]

SIZE = 2700
LICENCE = "academic research only; videos belong to their YouTube authors"
CITATION = (
    "Fu et al., Video-MME: The First-Ever Comprehensive Evaluation Benchmark of Multi-modal LLMs in Video "
    "Analysis, CVPR 2025 (arXiv:2405.21075)"
)
GROUPS: Mapping[str, Callable[[Row], str]] = {
    "duration": lambda row: str(row["duration"]),
    "domain": lambda row: str(row["domain"]),
    "sub_category": lambda row: str(row["sub_category"]),
    "task_type": lambda row: str(row["task_type"]),
}


EXAMPLE: Row = {
    "videoID": "fFjv93ACGo8",
    "question_id": "001-1",
    "question": "How many apples lie on the table?",
    "options": ["A. Two.", "B. Three.", "C. Four.", "D. Five."],
    "answer": "B",
    **{
        "duration": "short",
        "domain": "Knowledge",
        "sub_category": "Biology",
        "task_type": "Counting Problem",
    },
    "video": "fFjv93ACGo8.mp4",
    "subtitle": None,
}


def repository() -> HubDataset:
    """900 videos in zip archives, three questions each; subtitles for 744 of them."""
    return HubDataset(
        "lmms-eval/Video-MME",
        "videomme",
        split="test",
        aliases=("lmms-lab/Video-MME",),
        columns={
            "videoID": TEXT,
            "question_id": TEXT,
            "question": TEXT,
            "options": OPTIONS,
            "answer": TEXT,
            **dict.fromkeys(GROUPS, TEXT),
        },
        archives=("videos_chunked_*.zip", "subtitle.zip"),
        files={
            "video": tuple(f"data/{{videoID}}.{suffix}" for suffix in ("mp4", "MP4", "mkv")),
            "subtitle": ("subtitle/{videoID}.srt",),
        },
        optional=("subtitle",),
    )


def options(row: Row) -> dict[str, str]:
    """Options by letter."""
    return lettered(row["options"], written=True)


def meta(row: Row) -> Mapping[str, Any]:
    """What scoring needs besides the letter."""
    return {"question": row["question"], "options": options(row)}


def wording(row: Row, source: str = "the video") -> str:
    """The question in the words of Video-MME's authors, to be answered from ``source``."""
    return (
        f"Select the best answer to the following multiple-choice question based on {source}. "
        "Respond with only the letter (A, B, C, or D) of the correct option.\n"
        f"{row['question']}\n{option_lines(options(row))}\nThe best answer is:"
    )


def with_subtitles(row: Row) -> Text | Subtitled:
    """The question after the subtitles that are on screen in one of the frames shown, one a line; without a
    subtitle file, or any on screen, the question alone.
    """
    if row["subtitle"] is None:
        return Text(wording(row))
    return Subtitled(
        tuple(parse_srt(Path(row["subtitle"]).read_text(encoding="utf-8", errors="replace"))),
        "This video's subtitles are listed below:\n",
        f"\n\n{wording(row, 'the video and the subtitles')}",
        wording(row),
    )
