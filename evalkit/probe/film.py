"""Films: frames that are drawn, a street that passes by as a haystack, and encoding."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evalkit.core.errors import EnvironmentProblem
from evalkit.probe.drawing import INK, PAPER, Thing, draw_thing, things_image
from evalkit.probe.item import Drawing

if TYPE_CHECKING:
    from PIL import Image

SIZE = (448, 252)
"""Of a haystack's frames: 9 x 16 visual tokens of 28 pixels, as in V-NIAH."""
FPS = 2
_STREET = 3584
_STEP = 6

Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Insert:
    """A picture of things shown from frame ``start`` on for ``frames`` frames."""

    start: int
    frames: int
    things: tuple[Thing, ...]


def encode(frames: Iterable[Frame], path: Path, fps: int = FPS) -> None:
    """Write frames ``[height, width, 3]`` as an H.264 film, with the same bytes on every machine."""
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = None
        for picture in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(fps))
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                # One thread and no code of this processor's own, or the file depends on the machine.
                more = {"threads": "1", "x264-params": "cpu-independent=1"}
                stream.options = {"crf": "16", "preset": "veryfast", **more}
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        if stream is None:
            raise ValueError("a film without frames")
        for packet in stream.encode():
            container.mux(packet)


def film(frames: Callable[[], Iterable[Frame]], fps: int = FPS) -> Drawing:
    """A film that is drawn and encoded when it is first needed."""
    return Drawing("video", partial(_encode_later, frames, fps))


def _encode_later(frames: Callable[[], Iterable[Frame]], fps: int, path: Path) -> None:
    encode(frames(), path, fps)


def as_frame(picture: Image.Image) -> Frame:
    """A picture as pixels."""
    return np.asarray(picture, np.uint8)


def moving(size: tuple[int, int], frames: Sequence[Sequence[Thing]]) -> Iterator[Frame]:
    """A frame for each list of things."""
    for things in frames:
        yield as_frame(things_image(size, things))


def haystack(
    count: int, seed: str, inserts: Sequence[Insert], haystack_film: str | None = None
) -> Iterator[Frame]:
    """``count`` frames of a street that passes by, or of a user's film, with posters shown in between."""
    shown = {
        place: insert for insert in inserts for place in range(insert.start, insert.start + insert.frames)
    }
    posters = {insert: as_frame(poster(insert.things)) for insert in inserts}
    frames = _street(seed) if haystack_film is None else _looped(haystack_film)
    for place, frame in enumerate(islice(frames, count)):
        yield posters[shown[place]] if place in shown else frame


def poster(things: Sequence[Thing]) -> Image.Image:
    """A white sheet with a black rim that fills the screen, with things on it."""
    from PIL import ImageDraw

    picture = things_image(SIZE, ())
    canvas = ImageDraw.Draw(picture)
    canvas.rectangle((6, 6, SIZE[0] - 7, SIZE[1] - 7), outline=INK, width=6, fill=PAPER)
    for thing in things:
        draw_thing(canvas, thing)
    return picture


def _street(seed: str) -> Iterator[Frame]:
    """Houses that pass by without end."""
    width, height = SIZE
    rng = random.Random(f"street/{seed}")  # noqa: S311
    wide = _houses(rng)
    wide = np.concatenate([wide, wide[:, :width]], axis=1)
    begin = rng.randrange(_STREET)
    place = 0
    while True:
        offset = (begin + place * _STEP) % _STREET
        yield np.ascontiguousarray(wide[:height, offset : offset + width])
        place += 1


def _houses(rng: random.Random) -> Frame:
    from PIL import Image, ImageDraw

    height = SIZE[1]
    picture = Image.new("RGB", (_STREET, height), (188, 202, 214))
    canvas = ImageDraw.Draw(picture)
    left = 0
    while left < _STREET:
        wide, roof = rng.randint(60, 140), rng.randint(40, 140)
        tone = rng.randint(95, 165)
        canvas.rectangle(
            (left, roof, min(left + wide, _STREET) - 1, height), fill=(tone, tone - 8, tone - 16)
        )
        for x in range(left + 10, min(left + wide, _STREET) - 18, 24):
            for y in range(roof + 12, height - 60, 30):
                lit = rng.random() < 0.4
                canvas.rectangle((x, y, x + 11, y + 15), fill=(222, 214, 186) if lit else (64, 68, 76))
        left += wide
    canvas.rectangle((0, height - 34, _STREET, height), fill=(84, 84, 88))
    for x in range(0, _STREET, 64):
        canvas.rectangle((x, height - 20, x + 31, height - 15), fill=(215, 215, 215))
    return as_frame(picture)


def _looped(path: str) -> Iterator[Frame]:
    """The frames of a film at one a second, again and again."""
    return cycle(_decoded(path))


def _decoded(path: str) -> Iterator[Frame]:
    import av

    try:
        with av.open(path) as opened:
            due, any_frame = 0.0, False
            for frame in opened.decode(video=0):
                if frame.time is None or frame.time + 1e-6 < due:
                    continue
                due, any_frame = due + 1.0, True
                yield frame.reformat(*SIZE, format="rgb24").to_ndarray()
    except (av.FFmpegError, OSError, IndexError) as error:
        raise _unusable(path, str(error)) from None
    if not any_frame:
        raise _unusable(path, "it has no frame")


def _unusable(path: str, why: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the haystack film `{path}`",
        why,
        "put a readable film there, or take it away: a street is drawn then",
    )
