"""Abilities about short films: which way and how fast things move, what comes after what, and when."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import partial
from types import MappingProxyType

from evalkit.metrics.choice import MultipleChoice
from evalkit.metrics.spans import SpanIou, overlap
from evalkit.probe.drawing import INK, KINDS, Thing, things_image
from evalkit.probe.film import FPS, Frame, as_frame, film, moving
from evalkit.probe.item import Ability, Item, choice, quarter

MOVES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"to the left": (-1, 0), "to the right": (1, 0), "upwards": (0, -1), "downwards": (0, 1)}
)
_SIDE = 448
_FPS, _FRAMES = 4, 16
_WIDE, _TRACK = 672, 320
_OFF, _ON = (70, 70, 70), (255, 235, 120)


def direction(rng: random.Random, others: int, number: int) -> Item:
    """Which way an object moves in four seconds, among ``others`` that move, too."""
    kinds = rng.sample(KINDS, others + 1)
    answer = rng.choice(tuple(MOVES))
    moves = [answer, *(rng.choice(tuple(MOVES)) for _ in range(others))]
    paths = [_path(rng, move) for move in moves]
    frames = [
        [Thing(*kind, *path[step], 24) for kind, path in zip(kinds, paths, strict=True)][::-1]
        for step in range(_FRAMES)
    ]
    name = " ".join(kinds[0])
    question = f"Which way does the {name} move in this film?"
    wrong = [each for each in MOVES if each != answer]
    scene = {"frames": frames, "name": name}
    return choice(
        rng, [film(partial(moving, (_SIDE, _SIDE), frames), _FPS)], question, answer, wrong, scene=scene
    )


def _path(rng: random.Random, move: str) -> list[tuple[int, int]]:
    """Places over the frames: 240 pixels in a straight line."""
    across, down = MOVES[move]
    length = 240
    low, high = 30, _SIDE - 30
    x = rng.randint(low + (length if across < 0 else 0), high - (length if across > 0 else 0))
    y = rng.randint(low + (length if down < 0 else 0), high - (length if down > 0 else 0))
    steps = [length * step // (_FRAMES - 1) for step in range(_FRAMES)]
    return [(x + across * far, y + down * far) for far in steps]


def speed(rng: random.Random, percent: int, number: int) -> Item:
    """Which of four objects moves fastest; the next one has ``percent`` of its speed."""
    kinds = rng.sample(KINDS, 4)
    ways = [_TRACK, round(_TRACK * percent / 100)]
    ways += [rng.randint(round(ways[1] * 0.6), ways[1]) for _ in range(2)]
    lanes = rng.sample(range(4), 4)
    starts = [rng.randint(30, _WIDE - 30 - _TRACK) for _ in range(4)]
    frames = [
        [
            Thing(*kind, start + way * step // (_FRAMES - 1), 56 + 112 * lane, 28)
            for kind, start, way, lane in zip(kinds, starts, ways, lanes, strict=True)
        ]
        for step in range(_FRAMES)
    ]
    names = [" ".join(kind) for kind in kinds]
    question = "Four objects move to the right in this film, each at its own speed. Which one moves fastest?"
    made = film(partial(moving, (_WIDE, _SIDE), frames), _FPS)
    return choice(rng, [made], question, names[0], names[1:], scene={"frames": frames})


def event_order(rng: random.Random, count: int, number: int) -> Item:
    """``count`` objects that are shown one after the other; which one comes after another."""
    kinds = rng.sample(KINDS, count)
    shown = [Thing(*kind, rng.randint(90, _SIDE - 90), rng.randint(90, _SIDE - 90), 56) for kind in kinds]
    asked = rng.randrange(count - 1)
    names = [each.name for each in shown]
    wrong = rng.sample([name for place, name in enumerate(names) if place not in (asked, asked + 1)], 3)
    frames = [[each] for each in shown for _ in range(FPS)]
    question = f"This film shows one object after another. Which one comes directly after the {names[asked]}?"
    made = film(partial(moving, (_SIDE, _SIDE), frames))
    return choice(
        rng, [made], question, names[asked + 1], wrong, scene={"shown": names, "asked": names[asked]}
    )


def event_time(rng: random.Random, seconds: int, number: int) -> Item:
    """A lamp that is on for a quarter of a film of ``seconds``; from when to when."""
    start = rng.randint(1, seconds - seconds // 4 - 1)
    end = start + seconds // 4
    question = "In this film a lamp is off, goes on once, and goes off again. From when to when is it on?"
    asks = f"{question}\nAnswer with the start and the end in seconds, such as: from 1.0 to 2.5 seconds."
    made = film(partial(_lamp, seconds, start, end))
    return Item(
        (made, asks), [float(start), float(end)], question, scene={"seconds": seconds, "span": (start, end)}
    )


def _lamp(seconds: int, start: int, end: int) -> Iterator[Frame]:
    from PIL import ImageDraw

    pictures = []
    for colour in (_OFF, _ON):
        picture = things_image((336, 252), ())
        canvas = ImageDraw.Draw(picture)
        canvas.rectangle((0, 0, 336, 252), fill=(28, 32, 48) if colour == _OFF else (120, 110, 80))
        canvas.rectangle((160, 150, 176, 240), fill=INK)
        canvas.polygon([(120, 150), (216, 150), (190, 60), (146, 60)], fill=colour)
        pictures.append(as_frame(picture))
    for place in range(seconds * FPS):
        yield pictures[start * FPS <= place < end * FPS]


def span_chance(seconds: int) -> float:
    """The mean overlap of two spans of the right length that begin at any two of the possible seconds."""
    length = seconds // 4
    starts = seconds - length - 1
    gaps = ((abs(gap), starts - abs(gap)) for gap in range(1 - starts, starts))
    return sum(count * overlap((0, length), (gap, gap + length)) for gap, count in gaps) / starts**2


ABILITIES = (
    Ability(
        "probe_motion_direction",
        "other moving objects",
        (0, 1, 2, 3, 5, 8, 12),
        direction,
        MultipleChoice(),
        quarter,
    ),
    Ability(
        "probe_motion_speed",
        "speed of the next, % of the fastest",
        (30, 45, 60, 70, 80, 90, 95),
        speed,
        MultipleChoice(),
        quarter,
    ),
    Ability(
        "probe_event_order",
        "objects shown",
        (5, 6, 8, 10, 12, 16, 20),
        event_order,
        MultipleChoice(),
        quarter,
    ),
    Ability(
        "probe_event_time",
        "seconds of film",
        (8, 16, 32, 64, 128, 256, 384),
        event_time,
        SpanIou(),
        span_chance,
        items=50,
        max_new_tokens=48,
    ),
)
