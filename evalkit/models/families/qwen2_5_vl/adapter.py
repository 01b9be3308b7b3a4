"""Qwen2.5-VL: absolute time, boxes in pixels of the resized image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from evalkit.models import hf_model
from evalkit.models.families.qwen.preprocess import QwenPreprocessor
from evalkit.models.families.qwen.vision import compile_tower, encode
from evalkit.models.families.registry import FAMILIES


def _vision_mlps(model: Any) -> Iterator[Any]:
    return (block.mlp for block in model.model.visual.blocks)


FAMILY_ADAPTER = hf_model.FamilyAdapter(
    FAMILIES["qwen2_5_vl"],
    "Qwen2_5_VLForConditionalGeneration",
    QwenPreprocessor.placeholders,
    "Locate {} in this image and output the bbox coordinates in JSON format.",
    QwenPreprocessor.from_processor,
    encode,
    "model.visual",
    ("model.visual.merger",),
    pad_modules=_vision_mlps,
    compile_tower=compile_tower,
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
