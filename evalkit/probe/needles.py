"""Needles in long films: evalkit's own, and the published set-ups of V-NIAH(-D) and V-RULER as presets.

Parameters of the presets: the scripts of VideoRoPE's repository (Wiselnn570/VideoRoPE, commit 4005773,
``videorope_plus/v_ruler/scripts`` and ``eval``): 100 to 3,000 frames in steps of 200, depths 0 to 1 in steps
of 0.2, five needles, 9 x 16 tokens a frame; a distractor 200 frames before or after the needle.
"""

from __future__ import annotations

import itertools
import random
from functools import partial

from evalkit.metrics.choice import MultipleChoice
from evalkit.probe.drawing import COLOURS, SHAPES, Thing
from evalkit.probe.film import SIZE, Insert, film, haystack
from evalkit.probe.item import Ability, Item, choice, quarter

LEVELS = (16, 32, 64, 128, 256, 512, 1024, 2048)
PUBLISHED = tuple(range(100, 3001, 200))
DEPTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SUBTASKS = ("distractor", "counting", "ordering", "multi_key")
_NEEDLES = 5
_CYCLE = 200
_SHOWN = 2
"""Frames that a needle is shown: both of a temporal patch, so that nothing of the street is mixed in."""


def needle(rng: random.Random, count: int, number: int) -> Item:
    """A poster in a film of ``count`` frames: what colour is what is on it."""
    place = rng.randrange(0, count - _SHOWN + 1, _SHOWN)
    return _found(rng, count, place, f"own/{number}", None)


def v_niah(rng: random.Random, count: int, number: int, haystack_film: str | None = None) -> Item:
    """The same at the depth that the item's number says."""
    return _found(rng, count, _at(count, number), f"niah/{number}", haystack_film)


def v_ruler(rng: random.Random, count: int, number: int, haystack_film: str | None = None) -> Item:
    """One of V-RULER's kinds of question that need no real film."""
    subtask, number = SUBTASKS[number % len(SUBTASKS)], number // len(SUBTASKS)
    seed = f"{subtask}/{number}"
    if subtask == "distractor":
        return _found(rng, count, _at(count, number), seed, haystack_film, subtask)
    if subtask == "counting":
        return _counted(rng, count, seed, haystack_film)
    if subtask == "ordering":
        return _ordered(rng, count, seed, haystack_film)
    return _multi_key(rng, count, seed, haystack_film)


def _at(count: int, number: int) -> int:
    """The frame of an item's depth, on a temporal patch."""
    depth = DEPTHS[number // _NEEDLES % len(DEPTHS)]
    return int(depth * (count - _SHOWN)) // _SHOWN * _SHOWN


def _poster(colour: str, shape: str, place: int) -> Insert:
    return Insert(place, _SHOWN, (Thing(colour, shape, SIZE[0] // 2, SIZE[1] // 2, 70),))


def _found(
    rng: random.Random, count: int, place: int, seed: str, own: str | None, subtask: str | None = None
) -> Item:
    """What colour the shape on a poster is; with ``subtask``, another poster is 200 frames away if it can."""
    colours = rng.sample(tuple(COLOURS), 4)
    shape, other = rng.sample(SHAPES, 2)
    inserts = [_poster(colours[0], shape, place)]
    aside = [each for each in (place - _CYCLE, place + _CYCLE) if 0 <= each <= count - _SHOWN]
    if subtask and aside:
        inserts.append(_poster(colours[1], other, rng.choice(aside)))
    question = f"For a moment, a poster with a {shape} on it fills the screen. What colour is the {shape}?"
    made = film(partial(haystack, count, f"{seed}/{count}", tuple(inserts), own))
    scene = {"inserts": inserts, "shape": shape, "frames": count}
    needles = ((place, place + _SHOWN),)
    return choice(
        rng, [made], question, colours[0], colours[1:], scene=scene, needles=needles, subtask=subtask
    )


def _counted(rng: random.Random, count: int, seed: str, own: str | None) -> Item:
    shape, colour = rng.choice(SHAPES), rng.choice(tuple(COLOURS))
    times = rng.randint(1, 5)
    inserts = [_poster(colour, shape, place) for place in _places(rng, count, times)]
    lowest = max(0, times - rng.randint(0, 3))
    wrong = [str(each) for each in range(lowest, lowest + 4) if each != times]
    question = (
        f"Posters with a {shape} fill the screen for a moment, now and then. How many times does that happen?"
    )
    return _item(rng, count, seed, own, inserts, question, str(times), wrong, "counting")


def _ordered(rng: random.Random, count: int, seed: str, own: str | None) -> Item:
    shapes = rng.sample(SHAPES, 3)
    places = _places(rng, count, 3)
    inserts = [_poster(rng.choice(tuple(COLOURS)), *each) for each in zip(shapes, places, strict=True)]
    answer, *wrong = [", ".join(order) for order in itertools.permutations(shapes)]
    question = (
        "Three posters, each with a shape on it, fill the screen for a moment. In which order do they come?"
    )
    return _item(rng, count, seed, own, inserts, question, answer, rng.sample(wrong, 3), "ordering")


def _multi_key(rng: random.Random, count: int, seed: str, own: str | None) -> Item:
    shape = rng.choice(SHAPES)
    sets = list(itertools.combinations(rng.sample(tuple(COLOURS), 5), 3))
    right, *wrong = rng.sample(sets, 4)
    inserts = [_poster(*each) for each in zip(right, [shape] * 3, _places(rng, count, 3), strict=True)]
    question = (
        "Three posters fill the screen for a moment each, "
        f"all with a {shape}, each in another colour. Which colours are they?"
    )
    texts = [", ".join(rng.sample(each, 3)) for each in (right, *wrong)]
    return _item(rng, count, seed, own, inserts, question, texts[0], texts[1:], "multi_key")


def _places(rng: random.Random, count: int, times: int) -> list[int]:
    """Frames of several posters, at least one of the street between any two."""
    found = rng.sample(range(0, count - _SHOWN + 1, 2 * _SHOWN), times)
    return sorted(found)


def _item(
    rng: random.Random,
    count: int,
    seed: str,
    own: str | None,
    inserts: list[Insert],
    question: str,
    answer: str,
    wrong: list[str],
    subtask: str,
) -> Item:
    made = film(partial(haystack, count, f"{seed}/{count}", tuple(inserts), own))
    scene = {"inserts": inserts, "frames": count}
    needles = tuple((each.start, each.start + each.frames) for each in inserts)
    return choice(rng, [made], question, answer, wrong, scene=scene, needles=needles, subtask=subtask)


_ITEMS = len(DEPTHS) * _NEEDLES
_CHOICE = MultipleChoice()
ABILITIES = (
    Ability("probe_needle", "frames", LEVELS, needle, _CHOICE, quarter, items=50),
    Ability("probe_vniah", "frames", PUBLISHED, v_niah, _CHOICE, quarter, items=_ITEMS),
    Ability("probe_vruler", "frames", PUBLISHED, v_ruler, _CHOICE, quarter, items=_ITEMS * len(SUBTASKS)),
)
