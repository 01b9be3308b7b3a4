"""Shapes, text and places on pictures; every picture is the same on every machine."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from evalkit.probe.item import Drawing

if TYPE_CHECKING:
    from PIL import Image, ImageFont

PAPER = (250, 250, 246)
INK = (20, 20, 20)
COLOURS = MappingProxyType(
    {
        "red": (205, 25, 30),
        "blue": (25, 75, 205),
        "green": (15, 135, 55),
        "orange": (240, 130, 0),
        "purple": (125, 45, 160),
        "black": (15, 15, 15),
        "grey": (135, 135, 135),
        "pink": (245, 110, 180),
    }
)
SHAPES = ("circle", "square", "triangle", "diamond", "cross")
KINDS = tuple(itertools.product(COLOURS, SHAPES))


@dataclass(frozen=True)
class Thing:
    """A coloured shape that fills the square of ``radius`` pixels around ``(x, y)``."""

    colour: str
    shape: str
    x: int
    y: int
    radius: int

    @property
    def name(self) -> str:
        """What it is called: ``red circle``."""
        return f"{self.colour} {self.shape}"

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Its corners in pixels, ``(x1, y1, x2, y2)``."""
        return (self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius)

    def apart(self, other: Thing, gap: int) -> bool:
        """Whether ``gap`` pixels or more are between it and another."""
        return max(abs(self.x - other.x), abs(self.y - other.y)) >= self.radius + other.radius + gap


def draw_thing(canvas: Any, thing: Thing) -> None:
    """Draw a thing with PIL's ``ImageDraw``."""
    x1, y1, x2, y2 = thing.box
    x, y, third = thing.x, thing.y, max(1, round(thing.radius * 0.36))
    colour = COLOURS[thing.colour]
    if thing.shape == "circle":
        canvas.ellipse(thing.box, fill=colour)
    elif thing.shape == "square":
        canvas.rectangle(thing.box, fill=colour)
    elif thing.shape == "triangle":
        canvas.polygon([(x, y1), (x2, y2), (x1, y2)], fill=colour)
    elif thing.shape == "diamond":
        canvas.polygon([(x, y1), (x2, y), (x, y2), (x1, y)], fill=colour)
    else:
        canvas.rectangle((x - third, y1, x + third, y2), fill=colour)
        canvas.rectangle((x1, y - third, x2, y + third), fill=colour)


def things_image(size: tuple[int, int], things: Sequence[Thing]) -> Image.Image:
    """A sheet of paper with things on it."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", size, PAPER)
    canvas = ImageDraw.Draw(picture)
    for thing in things:
        draw_thing(canvas, thing)
    return picture


def things_drawing(size: tuple[int, int], things: Sequence[Thing]) -> Drawing:
    """The same, drawn when needed."""
    return Drawing("image", partial(_draw_things, size, tuple(things)))


def _draw_things(size: tuple[int, int], things: Sequence[Thing], path: Path) -> None:
    save(things_image(size, things), path)


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG file."""
    picture.save(path, format="PNG", compress_level=3)


def scattered(
    rng: random.Random,
    kinds: Sequence[tuple[str, str]],
    size: tuple[int, int],
    radius: int,
    taken: Sequence[Thing] = (),
    gap: int = 8,
) -> list[Thing]:
    """Things of these kinds at random places that are apart from each other and from ``taken``."""
    found: list[Thing] = []
    for colour, shape in kinds:
        for _ in range(10_000):
            x = rng.randint(radius + gap, size[0] - radius - gap - 1)
            y = rng.randint(radius + gap, size[1] - radius - gap - 1)
            thing = Thing(colour, shape, x, y, radius)
            if all(thing.apart(each, gap) for each in (*taken, *found)):
                found.append(thing)
                break
        else:
            raise ValueError(f"no place for {len(kinds)} things of radius {radius} on {size}")
    return found


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own typeface at ``size`` pixels, with the layout that every build of Pillow has."""
    from PIL import ImageFont

    own = ImageFont.load_default(size)
    if not isinstance(own, ImageFont.FreeTypeFont):
        raise RuntimeError("this build of Pillow can't draw TrueType text")
    return ImageFont.FreeTypeFont(io.BytesIO(own.font_bytes), size, layout_engine=ImageFont.Layout.BASIC)


def write(canvas: Any, place: tuple[float, float], text: str, size: int, anchor: str = "lm") -> None:
    """Write text in black; ``anchor`` as Pillow's."""
    canvas.text(place, text, fill=INK, font=font(size), anchor=anchor)
