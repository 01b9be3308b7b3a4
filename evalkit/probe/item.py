"""What a drawn benchmark is made of: an ability with its knob, its items, and pictures drawn when needed."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from evalkit.core.types import Locate
from evalkit.metrics.base import Metric

FORMAT = "1"
"""Part of the names of drawn files: raise it when the same seed gives other pixels."""


@dataclass(frozen=True)
class Drawing:
    """A picture or a film that is drawn into a file when it is first needed."""

    kind: Literal["image", "video"]
    draw: Callable[[Path], None] = field(repr=False)

    @property
    def suffix(self) -> str:
        """The ending of its file."""
        return ".png" if self.kind == "image" else ".mp4"


@dataclass(frozen=True)
class Item:
    """One question: prompt ``parts`` in order, the ``answer``, and ``options`` by letter if there are any.

    ``scene`` has the facts that are drawn, from which the answer follows; ``size`` is that of a single image,
    ``(width, height)`` in pixels. ``needles`` are the frames of a film that the answer is in.
    """

    parts: tuple[str | Locate | Drawing, ...]
    answer: Any
    question: str
    options: Mapping[str, str] = field(default_factory=dict)
    scene: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    needles: tuple[tuple[int, int], ...] = ()
    subtask: str | None = None


Make = Callable[..., Item]
"""Makes an item from random numbers, a level, the item's number and, where one is given, a film's path."""


@dataclass(frozen=True)
class Ability:
    """A benchmark with a knob.

    ``knob`` says what the ``levels`` count, from the easiest on; there are ``items`` of each. ``chance`` is
    the mean score of answers that are guessed, at a level.
    """

    name: str
    knob: str
    levels: tuple[int, ...]
    make: Make = field(repr=False)
    metric: Metric
    chance: Callable[[int], float] = field(repr=False)
    items: int = 100
    max_new_tokens: int = 32

    def item(self, level: int, number: int, seed: int, haystack: str | None = None) -> Item:
        """An item: the same on every machine; ``haystack`` is the path of a user's film."""
        # A text seeds through SHA-512, which no version or platform changes.
        rng = random.Random(f"{self.name}/{seed}/{level}/{number}")  # noqa: S311
        more = () if haystack is None else (haystack,)
        return self.make(rng, level, number, *more)


def choice(
    rng: random.Random,
    media: Sequence[str | Drawing],
    question: str,
    answer: str,
    others: Sequence[str],
    **facts: Any,
) -> Item:
    """An item with one right option among ``others``, in random order."""
    texts = [answer, *others]
    if len(set(texts)) != len(texts):
        raise ValueError(f"options are not distinct: {texts}")
    rng.shuffle(texts)
    options = dict(zip(string.ascii_uppercase, texts, strict=False))
    lines = "\n".join(f"{letter}. {text}" for letter, text in options.items())
    asked = f"{question}\n{lines}\nAnswer with the option's letter."
    right = next(letter for letter, text in options.items() if text == answer)
    return Item((*media, asked), right, question, options, **facts)


def quarter(level: int) -> float:
    """The chance of one in four options."""
    return 0.25
