"""Subtitles in SubRip form (``.srt``)."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from evalkit.core.types import Cue

_TIMES = re.compile(
    r"(?<!\d)(\d{1,6}):(\d{1,6}):(\d{1,6})[,.](\d{1,9})\s*+-->\s*+(\d{1,6}):(\d{1,6}):(\d{1,6})[,.](\d{1,9})(?!\d)"
)
_TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")


def parse_srt(source: str) -> list[Cue]:
    r"""Read SubRip text; markup and cues without text are left out.

    >>> parse_srt("1\n00:00:01,000 --> 00:00:02,500\n<font size='.7'>Hello</font>\nthere\n")
    [Cue(start=1.0, end=2.5, text='Hello there')]
    """
    cues = []
    for block in re.split(r"\n\s*\n", source.replace("\r\n", "\n").lstrip("\ufeff")):
        times = _TIMES.search(block)
        if times:
            text = " ".join(html.unescape(_TAG.sub("", block[times.end() :])).split())
            if text:
                cues.append(Cue(_seconds(times.groups()[:4]), _seconds(times.groups()[4:]), text))
    return cues


def _seconds(fields: Sequence[str]) -> float:
    hours, minutes, seconds, fraction = fields
    return round(int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}"), 3)
