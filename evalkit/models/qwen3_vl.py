"""Qwen3-VL: every frame of a video is a block of its own after its timestamp; boxes in thousandths."""

from __future__ import annotations

from functools import partial

from evalkit.models import hf
from evalkit.models.families import FAMILIES
from evalkit.models.qwen_preprocess import QwenPreprocessor
from evalkit.models.qwen_vision import encode

ADAPTER = hf.Adapter(
    FAMILIES["qwen3_vl"],
    "Qwen3VLForConditionalGeneration",
    QwenPreprocessor.placeholders,
    "Locate {} in this image and output the bbox coordinates in JSON format.",
    partial(QwenPreprocessor.from_processor, by_frame=True),
    encode,
)
describe = partial(hf.describe, ADAPTER)
