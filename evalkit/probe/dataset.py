"""The items of an ability as a data set, whose pictures and films are drawn when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from evalkit.core.errors import UsageError
from evalkit.core.task import Row
from evalkit.core.types import Locate, MediaRef, Part, Text
from evalkit.data.cache import cache_root
from evalkit.data.file_hash import file_hash
from evalkit.probe import context, motion, needles, objects, pages
from evalkit.probe.item import FORMAT, Ability, Drawing, Item

SEED = 1
ABILITIES: tuple[Ability, ...] = (
    *objects.ABILITIES,
    *pages.ABILITIES,
    *context.ABILITIES,
    *motion.ABILITIES,
    *needles.ABILITIES,
)
HAYSTACK = Path("probe", "haystack.mp4")
"""A film of the user's below the data root, in which the presets hide their needles."""
_WITH_FILM = ("probe_vniah", "probe_vruler")


@cache
def ability(name: str) -> Ability:
    """An ability by its name.

    Raises:
        UsageError: there is none.
    """
    found = next((each for each in ABILITIES if each.name == name), None)
    if found is None:
        known = ", ".join(each.name for each in ABILITIES)
        raise UsageError(f"ability `{name}`", f"there are: {known}", "use one of these names")
    return found


@dataclass(frozen=True)
class ProbeDataset:
    """All items of an ability, level by level; implements ``task.Dataset``.

    ``haystack`` is a user's film; ``digest`` is its content's.
    """

    name: str
    seed: int = SEED
    haystack: str | None = None
    digest: str | None = None

    def open(self, data_root: str | None) -> ProbeDataset:
        """The same with the film of a data root, if it has one and this ability takes it."""
        path = Path(data_root or "", HAYSTACK)
        if data_root is None or self.name not in _WITH_FILM or not path.is_file():
            return self
        return replace(self, haystack=str(path.absolute()), digest=file_hash(str(path)))

    def rows(self, data_root: str | None = None) -> Iterator[Row]:
        """Yield an item a row; nothing is drawn yet."""
        own, data = ability(self.name), self if self.haystack else self.open(data_root)
        for level in own.levels:
            for number in range(own.items):
                item = own.item(level, number, data.seed, data.haystack)
                yield {
                    "level": level,
                    "number": number,
                    "item": item,
                    "media": data._media(item, level, number),
                }

    def sources(self, data_root: str | None) -> Sequence[Path]:
        """The user's film, if there is one: all else is drawn."""
        found = self.open(data_root).haystack
        return () if found is None else (Path(found),)

    def describe(self) -> dict[str, str]:
        """The data set's entry in a manifest."""
        more = {"haystack": self.digest} if self.digest else {}
        revision = f"seed-{self.seed}-v{FORMAT}"
        return {"repo": f"evalkit.probe/{self.name}", "split": "test", "revision": revision, **more}

    def _media(self, item: Item, level: int, number: int) -> tuple[MediaRef, ...]:
        drawings = [part for part in item.parts if isinstance(part, Drawing)]
        folder = cache_root() / "probe"
        film = f"-{self.digest[:12]}" if self.digest else ""
        stem = f"{self.name}-{self.seed}-v{FORMAT}-{level}-{number}{film}"
        return tuple(
            MediaRef(each.kind, path=str(folder / f"{stem}-{place}{each.suffix}"), drawn=each.draw)
            for place, each in enumerate(drawings)
        )


def prompt(row: Row) -> tuple[Part, ...]:
    """A row's item with its media in place."""
    media = iter(row["media"])
    return tuple(_part(part, media) for part in row["item"].parts)


def _part(part: str | Locate | Drawing, media: Iterator[MediaRef]) -> Part:
    if isinstance(part, Drawing):
        return next(media)
    return Text(part) if isinstance(part, str) else part


def meta(row: Row) -> dict[str, Any]:
    """What the metric needs of an item."""
    item: Item = row["item"]
    found: dict[str, Any] = {"question": item.question}
    if item.options:
        found["options"] = dict(item.options)
    if item.size is not None:
        found["image_size"] = list(item.size)
    return found


def place(own: Ability, row: Row) -> dict[str, Any]:
    """Where an item is on its knob, what guessing gives there, and which frames of its film are needed."""
    found: dict[str, Any] = {"knob": own.knob, "level": row["level"], "chance": own.chance(row["level"])}
    if row["item"].needles:
        found["needles"] = [list(each) for each in row["item"].needles]
    return found
