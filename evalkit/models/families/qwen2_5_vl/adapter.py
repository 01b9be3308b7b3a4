"""Qwen2.5-VL: absolute time, boxes in pixels of the resized image."""

from __future__ import annotations

from functools import partial

from evalkit.models import hf_model
from evalkit.models.families.qwen.preprocess import QwenPreprocessor
from evalkit.models.families.qwen.vision import compile_tower, encode
from evalkit.models.families.registry import FAMILIES

FAMILY_ADAPTER = hf_model.FamilyAdapter(
    FAMILIES["qwen2_5_vl"],
    "Qwen2_5_VLForConditionalGeneration",
    QwenPreprocessor.placeholders,
    "Locate {} in this image and output the bbox coordinates in JSON format.",
    QwenPreprocessor.from_processor,
    encode,
    compile_tower=compile_tower,
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
