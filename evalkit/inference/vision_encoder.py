"""The vision tower: every medium once, many at a time, and its features in the places of the pads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from evalkit.core.types import Prepared, VisionInput
from evalkit.inference.async_copies import to_device
from evalkit.inference.counters import EngineCounters
from evalkit.inference.normalisation import Normalisations
from evalkit.inference.stopping import GenerationTokens
from evalkit.inference.vision_features import Encode, Features, encode_for_models

FEATURE_CACHE_BYTES = 2 << 30
"""Features kept for questions that come later: 0.3 million visual tokens of a 7B model."""


@dataclass
class VisionEncoder:
    """The tower of one model, and the features of the media that it saw last.

    ``shared_with``: this one and those of other models that have the same tower, in a fixed order; what one
    of them sees, all have seen.
    """

    model: Any
    encode: Encode
    normalise: Normalisations
    shared_with: Sequence[VisionEncoder] = ()
    _cache: OrderedDict[Hashable, Features] = field(default_factory=OrderedDict)

    def features(
        self, items: Sequence[Prepared], stats: EngineCounters, *, uncached_vision: bool = False
    ) -> list[Features]:
        """Features of all media of prompts, in the order of their appearance.

        ``uncached_vision``: show every medium anew and alone, for comparison.
        """
        media = [
            (_cache_key(item, number), each) for item in items for number, each in enumerate(item.vision)
        ]
        if uncached_vision:
            stats.counts["media"] += len(media)
            return [self.encode(self.model, [each], self.normalise)[0] for _, each in media]
        wanted = {key: each for key, each in media if key not in self._cache}
        found = self._encoded(wanted, stats)
        found |= {key: self._cache[key] for key, _ in media if key in self._cache}
        self._store(found)
        return [found[key] for key, _ in media]

    def release(self) -> None:
        """Give the memory back."""
        for vision in self.shared_with or [self]:
            vision._cache.clear()

    def _encoded(
        self, wanted: dict[Hashable, VisionInput], stats: EngineCounters
    ) -> dict[Hashable, Features]:
        stats.counts["media"] += len(wanted)
        if not wanted:
            return {}
        shared_with = self.shared_with or [self]
        seen = encode_for_models(
            [vision.model for vision in shared_with], self.encode, list(wanted.values()), self.normalise
        )
        found: dict[Hashable, Features] = {}
        for vision, features in zip(shared_with, seen, strict=True):
            own = dict(zip(wanted, features, strict=True))
            if vision is self:
                found = own
            else:
                vision._store(own)
        return found

    def _store(self, found: dict[Hashable, Features]) -> None:
        for key, each in found.items():
            self._cache.pop(key, None)
            if isinstance(key, tuple):  # what has no digest can't be recognised
                self._cache[key] = each
        size = sum(each.bytes for each in self._cache.values())
        while size > FEATURE_CACHE_BYTES // max(1, len(self.shared_with)):
            size -= self._cache.popitem(last=False)[1].bytes


def _cache_key(item: Prepared, number: int) -> Hashable:
    """Equal for media that are shown alike; an int (``id``) if nothing is known of the medium."""
    shown = item.vision[number]
    if not item.media:
        return id(shown)
    return item.media[number], shown.grid, shown.blocks, shown.patches.shape


def insert_features(
    embeddings: Tensor, token_ids: Tensor, features: Sequence[Features], generation_tokens: GenerationTokens
) -> dict[str, Any]:
    """Keyword arguments of a language model for tokens ``[T]`` of the CPU with embeddings ``[T, hidden]``,
    whose visual ones are replaced by ``features``.

    Raises:
        ValueError: the features are more or fewer than the visual tokens.
    """
    if not features:
        return {"inputs_embeds": embeddings[None]}
    visual = torch.isin(token_ids, torch.tensor(generation_tokens.placeholder_token_ids))
    places = visual.nonzero()[:, 0]
    tokens = torch.cat([each.tokens for each in features]).to(embeddings)
    if len(tokens) != len(places):
        raise ValueError(f"{len(places)} visual tokens in the prompts, {len(tokens)} features of media")
    embeddings = embeddings.index_copy(0, to_device(places, embeddings.device), tokens)
    if not features[0].deepstack:
        return {"inputs_embeds": embeddings[None]}
    deepstack = [torch.cat(layer) for layer in zip(*(each.deepstack for each in features), strict=True)]
    return {
        "inputs_embeds": embeddings[None],
        "visual_pos_masks": to_device(visual, embeddings.device)[None],
        "deepstack_visual_embeds": deepstack,
    }
