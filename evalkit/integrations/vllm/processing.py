"""What vLLM wants to know of a model's media. Pixels and tokens come to it ready: nothing is processed here.

Imported in vLLM's processes only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from vllm.inputs.engine import MultiModalInput, mm_input
from vllm.multimodal.inputs import (
    MultiModalFieldConfig,
    MultiModalFieldElem,
    MultiModalKwargsItem,
    MultiModalKwargsItems,
    PlaceholderRange,
)
from vllm.multimodal.parse import MultiModalDataParser
from vllm.multimodal.processing import BaseDummyInputsBuilder, BaseMultiModalProcessor, BaseProcessingInfo

PATCHES, DESCRIBED = "evalkit_patches", "evalkit_medium"

Tensor = torch.Tensor


def item_of(patches: Tensor, described: Mapping[str, Any]) -> MultiModalKwargsItem:
    """A medium as vLLM passes it on to :meth:`EvalkitModel.embed_multimodal`; it stays on the CPU, where the
    family's encoder takes it from.
    """
    text = torch.frombuffer(bytearray(json.dumps(dict(described)).encode()), dtype=torch.uint8)
    field = MultiModalFieldConfig.batched("image", keep_on_cpu=True).field
    return MultiModalKwargsItem(
        {
            PATCHES: MultiModalFieldElem(data=patches, field=field),
            DESCRIBED: MultiModalFieldElem(data=text, field=field),
        }
    )


def described_in(text: Tensor) -> dict[str, Any]:
    """What :func:`item_of` wrote."""
    found: dict[str, Any] = json.loads(text.cpu().numpy().tobytes())
    return found


def range_of(indices: Sequence[int] | np.ndarray[Any, Any]) -> PlaceholderRange:
    """The tokens that a medium's features replace, as vLLM has it."""
    places = torch.as_tensor(np.asarray(indices))
    begin, length = int(places[0]), int(places[-1] - places[0]) + 1
    if length == len(places):
        return PlaceholderRange(offset=begin, length=length)
    embeds = torch.zeros(length, dtype=torch.bool)
    embeds[places - begin] = True
    return PlaceholderRange(offset=begin, length=length, is_embed=embeds)


def indices_in(place: PlaceholderRange) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The inverse of :func:`range_of`."""
    if place.is_embed is None:
        return np.arange(place.offset, place.offset + place.length)
    found: np.ndarray[Any, np.dtype[np.int64]] = place.is_embed.nonzero()[:, 0].numpy() + place.offset
    return found


class Info(BaseProcessingInfo):  # type: ignore[misc]
    """Which media a model takes, and how many tokens one may have."""

    @property
    def given(self) -> dict[str, Any]:
        """What evalkit gave with the model's configuration."""
        found: dict[str, Any] = self.get_hf_config().evalkit
        return found

    def get_data_parser(self) -> Any:
        return MultiModalDataParser()

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        return dict.fromkeys(self.given["kinds"])

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        return dict.fromkeys(self.given["kinds"], max(1, min(seq_len, self.given["visual_tokens"])))


class DummyInputs(BaseDummyInputsBuilder):  # type: ignore[misc]
    """Unused: :meth:`Processor.get_dummy_mm_inputs` makes what vLLM measures its memory with."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return ""

    def get_dummy_mm_data(self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Any) -> Any:
        return {}


class Processor(BaseMultiModalProcessor):  # type: ignore[misc]
    """Gives vLLM a blank medium to measure its memory with, and refuses to process any."""

    requires_tokenizer = False

    def get_dummy_mm_inputs(self, mm_counts: Mapping[str, int], **_: Any) -> MultiModalInput:
        """Media as large as a prompt's may be, one after the other."""
        blank = self.info.given["blank"]
        items: dict[str, list[Any]] = {}
        ranges: dict[str, list[Any]] = {}
        at = 0
        for kind, count in mm_counts.items():
            for _number in range(count):
                patches = torch.zeros(blank["shape"], dtype=torch.uint8)
                items.setdefault(kind, []).append(item_of(patches, blank["medium"]))
                ranges.setdefault(kind, []).append(PlaceholderRange(offset=at, length=blank["tokens"]))
                at += blank["tokens"]
        hashes = {
            kind: [f"blank-{kind}-{number}" for number in range(len(own))] for kind, own in items.items()
        }
        return mm_input([0] * max(at, 1), MultiModalKwargsItems(items), hashes, ranges)

    def apply(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("evalkit's models take media that evalkit has processed")

    def _get_mm_fields_config(self, *_: Any) -> Any:
        raise NotImplementedError

    def _get_prompt_updates(self, *_: Any) -> Any:
        raise NotImplementedError
