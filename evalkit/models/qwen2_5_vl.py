"""Qwen2.5-VL: absolute time, boxes in pixels of the resized image."""

from __future__ import annotations

from functools import partial

from evalkit.models import hf
from evalkit.models.families import FAMILIES
from evalkit.models.qwen_preprocess import QwenPreprocessor
from evalkit.models.qwen_vision import encode

ADAPTER = hf.Adapter(
    FAMILIES["qwen2_5_vl"],
    "Qwen2_5_VLForConditionalGeneration",
    QwenPreprocessor.placeholders,
    "Locate {} in this image and output the bbox coordinates in JSON format.",
    QwenPreprocessor.from_processor,
    encode,
)
describe = partial(hf.describe, ADAPTER)
