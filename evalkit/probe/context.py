"""Abilities about what is around an image: other images, and text between it and the question."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType

from evalkit.metrics.choice import MultipleChoice
from evalkit.metrics.stated import StatedNumber
from evalkit.probe.drawing import KINDS, Thing, scattered, things_drawing
from evalkit.probe.item import Ability, Drawing, Item, choice, quarter
from evalkit.probe.words import WORDS

_SIDE = 336
_SHEET = (448, 448)
CORNERS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"top left": (0, 0), "top right": (1, 0), "bottom left": (0, 1), "bottom right": (1, 1)}
)
_VERBS = (
    "met",
    "found",
    "watched",
    "followed",
    "carried",
    "sold",
    "painted",
    "forgot",
    "remembered",
    "mended",
)
_WHEN = (
    "on Monday",
    "last week",
    "before noon",
    "in the rain",
    "after lunch",
    "at night",
    "for an hour",
    "once more",
)
_WHY = (
    "because nobody asked",
    "and then went home",
    "while it was quiet",
    "though it took long",
    "as everyone knew",
)


def several_images(rng: random.Random, count: int, number: int) -> Item:
    """``count`` numbered images of three objects each; in which of them one is."""
    target = rng.choice(KINDS)
    others = [kind for kind in KINDS if kind != target]
    right = rng.randrange(count)
    sheets: list[list[Thing]] = []
    for place in range(count):
        kinds = [*rng.sample(others, 2), target if place == right else rng.choice(others)]
        while len(set(kinds)) < 3:
            kinds[2] = rng.choice(others)
        sheets.append(scattered(rng, rng.sample(kinds, 3), (_SIDE, _SIDE), 32))
    parts: list[str | Drawing] = []
    for place, things in enumerate(sheets):
        parts += [
            f"{'' if place == 0 else chr(10)}Image {place + 1}: ",
            things_drawing((_SIDE, _SIDE), things),
        ]
    name = " ".join(target)
    question = f"One of these {count} images shows a {name}. Which one?".replace("a orange", "an orange")
    parts.append(f"\n{question}\nAnswer with the number of the image only.")
    return Item(tuple(parts), str(right + 1), question, scene={"sheets": sheets, "target": name})


def fading(rng: random.Random, count: int, number: int) -> Item:
    """An image of four objects, ``count`` words of a story that has nothing to do with it, and a question."""
    kinds = rng.sample(KINDS, 4)
    things = [
        Thing(*kind, 112 + 224 * x + rng.randint(-30, 30), 112 + 224 * y + rng.randint(-30, 30), 44)
        for kind, (x, y) in zip(kinds, CORNERS.values(), strict=True)
    ]
    place = rng.randrange(4)
    corner, answer = list(CORNERS)[place], things[place]
    wrong = [each.name for each in things if each is not answer]
    question = f"Look at the picture{' before the story' if count else ''}. What is at the {corner} of it?"
    story = (
        f"\nHere is a story that has nothing to do with the picture.\n{filler(rng, count)}\n" if count else ""
    )
    media = (things_drawing(_SHEET, things), story) if count else (things_drawing(_SHEET, things),)
    return choice(
        rng, media, question, answer.name, wrong, scene={"things": things, "corner": corner}, size=_SHEET
    )


def filler(rng: random.Random, count: int) -> str:
    """Sentences of ``count`` words in all, without a colour or a shape.

    >>> len(filler(random.Random(1), 375).split())
    375
    """
    found: list[str] = []
    while len(found) < count:
        first, second = rng.choice(WORDS), rng.choice(WORDS)
        sentence = f"The {first} {rng.choice(_VERBS)} the {second} {rng.choice(_WHEN)} {rng.choice(_WHY)}."
        found += sentence.split()
    return f"{' '.join(found[:count]).removesuffix('.')}."


ABILITIES = (
    Ability(
        "probe_several_images",
        "images",
        (2, 3, 4, 6, 8, 12, 16, 24),
        several_images,
        StatedNumber(numbered="image"),
        lambda images: 1 / images,
    ),
    Ability(
        "probe_fading",
        "words between image and question",
        (0, 375, 750, 1500, 3000, 6000, 12000, 24000),
        fading,
        MultipleChoice(),
        quarter,
        items=50,
    ),
)
