"""The vision tower: every medium once, many at a time, and its features in the places of the pads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from evalkit.models.features import Encode, Features, encoded_for
from evalkit.models.generation import DecodingRules
from evalkit.models.normalise import Normalisations
from evalkit.models.transfer import sent
from evalkit.stats import Stats
from evalkit.types import Prepared, VisionInput

KEPT_BYTES = 2 << 30
"""Features kept for questions that come later: 0.3 million visual tokens of a 7B model."""


@dataclass
class Vision:
    """The tower of one model, and the features of the media that it saw last.

    ``circle``: this one and those of other models that have the same tower, in a fixed order; what one
    of them sees, all have seen.
    """

    model: Any
    encode: Encode
    normalise: Normalisations
    circle: Sequence[Vision] = ()
    _kept: OrderedDict[Hashable, Features] = field(default_factory=OrderedDict)

    def features(
        self, items: Sequence[Prepared], stats: Stats, *, one_by_one: bool = False
    ) -> list[Features]:
        """Features of all media of prompts, in the order of their appearance.

        ``one_by_one``: show every medium anew and alone, for comparison.
        """
        media = [(_identity(item, number), each) for item in items for number, each in enumerate(item.vision)]
        if one_by_one:
            stats.counts["media"] += len(media)
            return [self.encode(self.model, [each], self.normalise)[0] for _, each in media]
        wanted = {key: each for key, each in media if key not in self._kept}
        found = self._encoded(wanted, stats)
        found |= {key: self._kept[key] for key, _ in media if key in self._kept}
        self._keep(found)
        return [found[key] for key, _ in media]

    def forget(self) -> None:
        """Give the memory back."""
        for vision in self.circle or [self]:
            vision._kept.clear()

    def _encoded(self, wanted: dict[Hashable, VisionInput], stats: Stats) -> dict[Hashable, Features]:
        stats.counts["media"] += len(wanted)
        if not wanted:
            return {}
        circle = self.circle or [self]
        seen = encoded_for(
            [vision.model for vision in circle], self.encode, list(wanted.values()), self.normalise
        )
        found: dict[Hashable, Features] = {}
        for vision, features in zip(circle, seen, strict=True):
            own = dict(zip(wanted, features, strict=True))
            if vision is self:
                found = own
            else:
                vision._keep(own)
        return found

    def _keep(self, found: dict[Hashable, Features]) -> None:
        for key, each in found.items():
            self._kept.pop(key, None)
            if isinstance(key, tuple):  # what has no digest can't be recognised
                self._kept[key] = each
        size = sum(each.bytes for each in self._kept.values())
        while size > KEPT_BYTES // max(1, len(self.circle)):
            size -= self._kept.popitem(last=False)[1].bytes


def _identity(item: Prepared, number: int) -> Hashable:
    """Equal for media that are shown alike; an int (``id``) if nothing is known of the medium."""
    shown = item.vision[number]
    if not item.media:
        return id(shown)
    return item.media[number], shown.grid, shown.blocks, shown.patches.shape


def inject(
    embeddings: Tensor, token_ids: Tensor, features: Sequence[Features], rules: DecodingRules
) -> dict[str, Any]:
    """Keyword arguments of a language model for tokens ``[T]`` of the CPU with embeddings ``[T, hidden]``,
    whose visual ones are replaced by ``features``.

    Raises:
        ValueError: the features are more or fewer than the visual tokens.
    """
    if not features:
        return {"inputs_embeds": embeddings[None]}
    visual = torch.isin(token_ids, torch.tensor(rules.visual))
    places = visual.nonzero()[:, 0]
    tokens = torch.cat([each.tokens for each in features]).to(embeddings)
    if len(tokens) != len(places):
        raise ValueError(f"{len(places)} visual tokens in the prompts, {len(tokens)} features of media")
    embeddings = embeddings.index_copy(0, sent(places, embeddings.device), tokens)
    if not features[0].deep:
        return {"inputs_embeds": embeddings[None]}
    deep = [torch.cat(layer) for layer in zip(*(each.deep for each in features), strict=True)]
    return {
        "inputs_embeds": embeddings[None],
        "visual_pos_masks": sent(visual, embeddings.device)[None],
        "deepstack_visual_embeds": deep,
    }
