"""Abilities about coloured objects on a sheet: where one is, how many there are, how they stand."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from evalkit.core.types import Locate
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.metrics.choice import MultipleChoice
from evalkit.probe.drawing import (
    COLOURS,
    KINDS,
    PAPER,
    SHAPES,
    Thing,
    draw_thing,
    save,
    scattered,
    things_drawing,
)
from evalkit.probe.item import Ability, Drawing, Item, choice, quarter

SHEET = (672, 672)
PLACES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"to the left of it": (-1, 0), "to the right of it": (1, 0), "above it": (0, -1), "below it": (0, 1)}
)
_LARGE = 2016
_STRIP = 450_000


def localisation(rng: random.Random, side: int, number: int) -> Item:
    """Twelve objects of 64 pixels on a page of ``side`` pixels; one is to be located."""
    things = scattered(rng, rng.sample(KINDS, 12), (side, side), 32)
    target = rng.choice(things)
    parts = (things_drawing((side, side), things), Locate(f"the {target.name}"))
    scene = {"things": things}
    return Item(parts, list(target.box), f"the {target.name}", scene=scene, size=(side, side))


def counting(rng: random.Random, level: int, number: int) -> Item:
    """About ``level`` objects of a kind among half as many others."""
    kind, *others = rng.sample(KINDS, 5)
    count = level + rng.randint(-1, 1)
    kinds = [kind] * count + [rng.choice(others) for _ in range(level // 2)]
    things = scattered(rng, kinds, SHEET, 20)
    lowest = count - rng.randint(0, min(3, count - 1))
    wrong = [str(each) for each in range(lowest, lowest + 4) if each != count]
    question = f"How many {kind[0]} {plural(kind[1])} are in the picture?"
    picture = things_drawing(SHEET, things)
    return choice(
        rng, [picture], question, str(count), wrong, scene={"things": things, "kind": kind}, size=SHEET
    )


def plural(shape: str) -> str:
    """Several of a shape.

    >>> plural("cross"), plural("square")
    ('crosses', 'squares')
    """
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def relation_of_two(rng: random.Random, others: int, number: int) -> Item:
    """Where one object is, seen from another, among ``others``."""
    kinds = rng.sample(KINDS, others + 2)
    answer = rng.choice(tuple(PLACES))
    first, second = _pair(rng, kinds[0], kinds[1], PLACES[answer])
    things = [first, second, *scattered(rng, kinds[2:], SHEET, 26, (first, second))]
    rng.shuffle(things)
    question = f"Look at the {second.name}. Where is the {first.name}?"
    wrong = [each for each in PLACES if each != answer]
    scene = {"things": things, "first": first, "second": second}
    return choice(rng, [things_drawing(SHEET, things)], question, answer, wrong, scene=scene, size=SHEET)


def _pair(
    rng: random.Random, first: tuple[str, str], second: tuple[str, str], place: tuple[int, int]
) -> tuple[Thing, Thing]:
    """Two things, the first in the direction ``place`` from the second: at most 17 degrees aside."""
    while True:
        far = rng.randint(120, 440)
        aside = rng.randint(-int(0.3 * far), int(0.3 * far))
        x, y = (rng.randint(40, SHEET[0] - 40) for _ in range(2))
        across = place[0] * far or aside
        down = place[1] * far or aside
        if all(40 <= each <= SHEET[0] - 40 for each in (x + across, y + down)):
            return Thing(*first, x + across, y + down, 26), Thing(*second, x, y, 26)


def relation_of_three(rng: random.Random, others: int, number: int) -> Item:
    """In which order three objects stand, from left to right or from top to bottom, among ``others``."""
    kinds = rng.sample(KINDS, others + 3)
    axis = rng.choice(("x", "y"))
    while True:
        three = scattered(rng, kinds[:3], SHEET, 26)
        places = sorted(getattr(each, axis) for each in three)
        if min(b - a for a, b in itertools.pairwise(places)) >= 80:
            break
    things = [*three, *scattered(rng, kinds[3:], SHEET, 26, three)]
    rng.shuffle(things)
    ordered = sorted(three, key=lambda each: getattr(each, axis))
    answer, *wrong = [", ".join(each.name for each in order) for order in itertools.permutations(ordered)]
    words = "from left to right" if axis == "x" else "from top to bottom"
    names = [each.name for each in rng.sample(three, 3)]
    question = (
        f"Look only at the {names[0]}, the {names[1]} and the {names[2]}. "
        f"In which order do they stand, {words}?"
    )
    scene = {"things": things, "three": three, "axis": axis}
    picture = things_drawing(SHEET, things)
    return choice(rng, [picture], question, answer, rng.sample(wrong, 3), scene=scene, size=SHEET)


def small_object(rng: random.Random, ratio: int, number: int) -> Item:
    """One object in an image that is ``ratio`` times as wide, on a ground of pale lines."""
    radius = _LARGE // ratio // 2
    colour, other = rng.sample([each for each in COLOURS if each != "grey"], 2)
    shape, second = rng.sample(SHAPES, 2)
    thing = scattered(rng, [(colour, shape)], (_LARGE, _LARGE), radius, gap=20)[0]
    lines = [tuple(rng.randrange(_LARGE) for _ in range(4)) for _ in range(60)]
    picture = Drawing("image", partial(_draw_small, thing, lines))
    wrong = [f"a {colour} {second}", f"a {other} {shape}", f"a {other} {second}"]
    question = "Somewhere in this picture is one small coloured object on pale grey lines. What is it?"
    wrong = [each.replace("a orange", "an orange") for each in wrong]
    answer = f"a {thing.name}".replace("a orange", "an orange")
    scene = {"things": [thing]}
    return choice(rng, [picture], question, answer, wrong, scene=scene, size=(_LARGE, _LARGE))


def _draw_small(thing: Thing, lines: Sequence[tuple[int, ...]], path: Path) -> None:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (_LARGE, _LARGE), PAPER)
    canvas = ImageDraw.Draw(picture)
    for x1, y1, x2, y2 in lines:
        canvas.line((x1, y1, x2, y2), fill=(215, 215, 212), width=3)
    draw_thing(canvas, thing)
    save(picture, path)


def aspect_ratio(rng: random.Random, ratio: int, number: int) -> Item:
    """Eight objects in a row on a strip ``ratio`` times as long as it is wide, lying or standing."""
    long, short = (28 * max(1, round(math.sqrt(_STRIP * each) / 28)) for each in (ratio, 1 / ratio))
    radius = min(24, short // 2 - 10)
    step = long / 8
    along = [round(step * (place + 0.5) + rng.uniform(-0.15, 0.15) * step) for place in range(8)]
    aside = [rng.randint(radius + 4, short - radius - 5) for _ in range(8)]
    if ratio == 1:  # a square, where a row is a row only if it is nearly straight
        aside = [short // 2 + rng.randint(-40, 40) for _ in range(8)]
    lying = rng.random() < 0.5
    places = list(zip(along, aside, strict=True)) if lying else list(zip(aside, along, strict=True))
    kinds = rng.sample(KINDS, 8)
    things = [Thing(*kind, *place, radius) for kind, place in zip(kinds, places, strict=True)]
    asked = rng.randrange(7)
    answer = things[asked + 1]
    wrong = rng.sample([each.name for each in things if each not in (answer, things[asked])], 3)
    row, side = ("row", "to the right of") if lying else ("column", "below")
    question = (
        f"The picture shows a {row} of eight objects. "
        f"Which object comes directly {side} the {things[asked].name}?"
    )
    size = (long, short) if lying else (short, long)
    scene = {"things": things, "asked": things[asked], "lying": lying}
    return choice(rng, [things_drawing(size, things)], question, answer.name, wrong, scene=scene, size=size)


_CHOICE = MultipleChoice()
ABILITIES = (
    Ability(
        "probe_localisation",
        "page side in pixels",
        (448, 616, 896, 1232, 1792, 2464, 3584),
        localisation,
        BoxAccuracy(),
        lambda side: 0.0,
        max_new_tokens=64,
    ),
    Ability("probe_counting", "objects to count", (3, 4, 6, 8, 12, 16, 24, 32), counting, _CHOICE, quarter),
    Ability(
        "probe_relation2", "other objects", (0, 2, 4, 8, 12, 16, 24, 32), relation_of_two, _CHOICE, quarter
    ),
    Ability(
        "probe_relation3", "other objects", (0, 2, 4, 8, 12, 16, 24, 32), relation_of_three, _CHOICE, quarter
    ),
    Ability(
        "probe_small_object",
        "image side over object side",
        (12, 18, 24, 36, 48, 72, 84, 126),
        small_object,
        _CHOICE,
        quarter,
    ),
    Ability(
        "probe_aspect_ratio", "length over width", (1, 2, 4, 8, 16, 32, 64), aspect_ratio, _CHOICE, quarter
    ),
)
