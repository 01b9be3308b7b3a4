"""Layouts that variants are compared on: text, images, videos and an answer, written in one line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.core.errors import UsageError, did_you_mean
from evalkit.rope.layout import Segment, TextRun, VisualBlock

TIMESTAMP = 6
"""Text tokens before each frame of ``f``: Qwen3-VL writes ``<3.0 seconds>`` and a start and an end token."""

_PIECE = re.compile(r"([tg])(\d+)|(i)(\d+)x(\d+)|([vf])(\d+)x(\d+)x(\d+)")
_LARGEST = 2_000_000
_SYNTAX = (
    "write pieces joined by +: t20 (text), i60x44 (image), v16x10x18 (video), f16x10x18 (its frames one by "
    "one), g256 (answer)"
)


@dataclass(frozen=True)
class Layout:
    """A prompt as segments, and ``generated`` tokens of an answer after it; ``written``: how it was given."""

    name: str
    written: str
    segments: tuple[Segment, ...]
    generated: int

    @property
    def prompt_tokens(self) -> int:
        """Tokens before the answer."""
        return sum(segment.length for segment in self.segments)

    @property
    def visual(self) -> tuple[VisualBlock, ...]:
        """The visual blocks, in order."""
        return tuple(each for each in self.segments if isinstance(each, VisualBlock))


PRESETS: Mapping[str, str] = {
    "page": "t20+i60x44+t30+g256",
    "images": "t20+i24x32+t8+i24x32+t8+i24x32+t8+i24x32+t30+g256",
    "short-video": "t20+v16x10x18+t30+g256",
    "long-video": "t20+v256x8x12+t30+g256",
    "frames": "t20+f64x10x18+t30+g256",
    "long-answer": "t20+i60x44+t30+g8192",
}
"""A document of 60 x 44 tokens; four images; videos as one block, of 2,880 and of 24,576 tokens (the paper's
cap); a video as Qwen3-VL has it, every frame a block after its timestamp; the document with a long answer.
"""


def read_layouts(texts: Sequence[str]) -> list[Layout]:
    """Layouts by name, or ``NAME=PIECES``; the presets if none is given.

    Raises:
        UsageError: a name or a piece that there is not, or a layout without a visual block.
    """
    return [_read(text) for text in texts or PRESETS]


def _read(text: str) -> Layout:
    name, given, written = text.partition("=")
    if not given:
        if name not in PRESETS:
            known = ", ".join(PRESETS)
            raise UsageError(
                f"layout `{text}`",
                f"no layout has this name; known: {known}.{did_you_mean(name, PRESETS)}",
                f"or describe one, `NAME=t20+i60x44+t30+g256`: {_SYNTAX}",
            )
        written = PRESETS[name]
    segments: list[Segment] = []
    generated = 0
    for piece in written.split("+"):
        if generated:
            raise UsageError(f"layout `{text}`", "something follows its answer", "let `g` be its last piece")
        generated = _add(segments, piece, text)
    layout = Layout(name, written, tuple(segments), generated)
    if not name or not layout.visual:
        raise UsageError(f"layout `{text}`", "it has no name or no visual block", _SYNTAX)
    if layout.prompt_tokens + generated > _LARGEST:
        raise UsageError(f"layout `{text}`", f"it has more than {_LARGEST:,} tokens", "make it smaller")
    return layout


def _add(segments: list[Segment], piece: str, layout: str) -> int:
    """Append a piece's segments; returns how many tokens it generates."""
    found = _PIECE.fullmatch(piece.strip())
    numbers = [int(each) for each in found.groups() if each and each.isdigit()] if found else []
    if not found or min(numbers) < 1 or max(numbers) > _LARGEST:
        raise UsageError(f"layout `{layout}`", f"`{piece}` is no piece of one", _SYNTAX)
    kind = found.group(0)[0]
    if kind == "g":
        return numbers[0]
    if kind == "t":
        segments.append(TextRun(numbers[0]))
    elif kind == "i":
        segments.append(VisualBlock((1, numbers[0], numbers[1])))
    else:
        frames, rows, columns = numbers
        if frames * rows * columns > _LARGEST:
            raise UsageError(
                f"layout `{layout}`", f"`{piece}` has more than {_LARGEST:,} tokens", "shorten it"
            )
        if kind == "v":
            segments.append(VisualBlock((frames, rows, columns), seconds_per_grid=1.0))
        else:
            frame = VisualBlock((1, rows, columns), seconds_per_grid=1.0)
            segments += [each for _ in range(frames) for each in (TextRun(TIMESTAMP), frame)]
    return 0
