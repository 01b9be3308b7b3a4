"""Video-MME: the question's wording, without and with subtitles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.benchmarks.options import lettered, option_lines
from evalkit.core.types import Subtitled, Text
from evalkit.data.subtitles import parse_srt

Row = Mapping[str, Any]


def options(row: Row) -> dict[str, str]:
    """Options by letter."""
    return lettered(row["options"], written=True)


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
