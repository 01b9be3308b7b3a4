"""The vision encoder of a model with a cache of features, and their insertion among a prompt's embeddings."""

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
from evalkit.inference.vision_features import Encode, Features, encode_for_models

FEATURE_CACHE_BYTES = 2 << 30
"""Size of the feature cache: 0.3 million visual tokens of a 7B model."""


@dataclass
class VisionEncoder:
    """The vision tower and connector of a transformers model, and the features of the media encoded last.

    ``connector``: see :class:`~evalkit.models.families.adapter.FamilyAdapter`. ``shared_with``: encoders of
    the models that share the tower, this one included, in a fixed order; what one encodes is cached for all.
    """

    model: Any
    encode: Encode
    normalise: Normalisations
    connector: Sequence[str]
    shared_with: Sequence[VisionEncoder] = ()
    _cache: OrderedDict[Hashable, Features] = field(default_factory=OrderedDict)

    def features(
        self,
        items: Sequence[Prepared],
        stats: EngineCounters,
        *,
        uncached_vision: bool = False,
        alone: bool = False,
    ) -> list[Features]:
        """Features of all media of prompts, in the order of their appearance.

        ``uncached_vision``: encode every medium anew and alone, for comparison. ``alone``: in a call of its
        own, so that its features depend on no other medium or model.
        """
        media = [(cache_key(item, number), each) for item in items for number, each in enumerate(item.vision)]
        if uncached_vision:
            stats.counts["media"] += len(media)
            return [self.encode(self.model, [each], self.normalise)[0] for _, each in media]
        missing = {key: each for key, each in media if key not in self._cache}
        found = self._encode_alone(missing, stats) if alone else self._encode_missing(missing, stats)
        found |= {key: self._cache[key] for key, _ in media if key in self._cache}
        self._store(found)
        return [found[key] for key, _ in media]

    def release(self) -> None:
        """Empty the cache, and those of the encoders that share the tower."""
        for encoder in self.shared_with or [self]:
            encoder._cache.clear()

    def _encode_alone(
        self, missing: dict[Hashable, VisionInput], stats: EngineCounters
    ) -> dict[Hashable, Features]:
        stats.counts["media"] += len(missing)
        return {key: self.encode(self.model, [each], self.normalise)[0] for key, each in missing.items()}

    def _encode_missing(
        self, missing: dict[Hashable, VisionInput], stats: EngineCounters
    ) -> dict[Hashable, Features]:
        stats.counts["media"] += len(missing)
        if not missing:
            return {}
        encoders = self.shared_with or [self]
        by_encoder = encode_for_models(
            [encoder.model for encoder in encoders],
            self.encode,
            list(missing.values()),
            self.normalise,
            connector=self.connector,
        )
        found: dict[Hashable, Features] = {}
        for encoder, features in zip(encoders, by_encoder, strict=True):
            own = dict(zip(missing, features, strict=True))
            if encoder is self:
                found = own
            else:
                encoder._store(own)
        return found

    def _store(self, found: dict[Hashable, Features]) -> None:
        """Put features at the recent end of the cache, and drop the least recent ones beyond its size."""
        for key, each in found.items():
            self._cache.pop(key, None)
            if isinstance(key, tuple):  # a medium without a digest can't be recognised
                self._cache[key] = each
        size = sum(each.bytes for each in self._cache.values())
        while size > FEATURE_CACHE_BYTES // max(1, len(self.shared_with)):
            size -= self._cache.popitem(last=False)[1].bytes


def cache_key(item: Prepared, number: int) -> Hashable:
    """Equal for media with the same pixels; an int (``id``) for a medium without a digest."""
    vision = item.vision[number]
    if not item.media:
        return id(vision)
    return item.media[number], vision.grid, vision.blocks, vision.patches.shape


def insert_features(
    embeddings: Tensor, token_ids: Tensor, features: Sequence[Features], placeholder_token_ids: Sequence[int]
) -> dict[str, Any]:
    """Keyword arguments of a language model for tokens ``[T]`` (on the CPU) with embeddings ``[T, hidden]``,
    those of the placeholders replaced by ``features``.

    Raises:
        ValueError: the features are more or fewer than the placeholders.
    """
    if not features:
        return {"inputs_embeds": embeddings[None]}
    visual = torch.isin(token_ids, torch.tensor(placeholder_token_ids))
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
