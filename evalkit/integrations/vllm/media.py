"""Where the visual tokens of each medium stand in a prompt, and the segments of a prompt from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.core.types import Prepared, VisionInput
from evalkit.inference.sequence import segments_of
from evalkit.models.preprocess import TOKEN_TYPES
from evalkit.rope.layout import Segment

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PlacedMedium:
    """A medium, and the indices of the tokens that its features replace; the last ``separators`` of these
    have positions like text.
    """

    vision: VisionInput
    indices: Indices
    separators: int

    def describe(self) -> dict[str, Any]:
        """All but pixels and places, for JSON."""
        vision = self.vision
        return {
            "kind": vision.kind,
            "grid": vision.grid,
            "blocks": vision.blocks,
            "seconds": vision.seconds_per_grid,
            "tile": vision.tile,
            "separators": self.separators,
        }


def vision_of(described: Mapping[str, Any], patches: npt.NDArray[np.uint8]) -> VisionInput:
    """The medium that :meth:`PlacedMedium.describe` describes."""
    return VisionInput(
        described["kind"],
        patches,
        tuple(described["grid"]),
        tuple(tuple(block) for block in described["blocks"]),
        described["seconds"],
        None if described["tile"] is None else tuple(described["tile"]),
    )


def placed_media(item: Prepared, placeholder_token_ids: Sequence[int]) -> list[PlacedMedium]:
    """The media of a prompt with their places.

    Raises:
        ValueError: the prompt's placeholders are more or fewer than its media have tokens.
    """
    places = np.flatnonzero(np.isin(item.input_ids, placeholder_token_ids))
    visual = item.token_types[places] != 0
    found, at = [], 0
    for vision in item.vision:
        size = sum(t * h * w for t, h, w in vision.blocks)
        end = at + size
        if not visual[at:end].all() or end > len(places):
            raise ValueError(f"the visual tokens of `{item.key}` are not those of its media")
        separators = 0
        while end + separators < len(places) and not visual[end + separators]:
            separators += 1
        found.append(PlacedMedium(vision, places[at : end + separators], separators))
        at = end + separators
    if at != len(places):
        raise ValueError(f"{len(places)} visual tokens in `{item.key}`, {at} of its media")
    return found


def segments_with(length: int, media: Sequence[PlacedMedium]) -> list[Segment]:
    """The segments of a prompt of so many tokens with these media."""
    types = np.zeros(length, np.uint8)
    for each in media:
        visual = each.indices[: len(each.indices) - each.separators]
        types[visual] = TOKEN_TYPES[each.vision.kind]
    vision = tuple(each.vision for each in media)
    return segments_of(Prepared("a prompt", np.zeros(length, np.int64), types, vision, 1))
