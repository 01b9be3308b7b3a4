"""Qwen2-VL: no absolute time, boxes in thousandths of the image."""

from __future__ import annotations

from functools import partial

from evalkit.models import hf
from evalkit.models.families import FAMILIES
from evalkit.models.qwen_preprocess import QwenPreprocessor
from evalkit.models.qwen_vision import encode

ADAPTER = hf.Adapter(
    FAMILIES["qwen2_vl"],
    "Qwen2VLForConditionalGeneration",
    QwenPreprocessor.placeholders,
    # The model answers with <|box_start|>(x1,y1),(x2,y2)<|box_end|>. Its evaluation code is not
    # published; this is the wording that the Qwen team gives for its successors.
    "Locate {} in this image and output the bbox coordinates.",
    QwenPreprocessor.from_processor,
    encode,
)
describe = partial(hf.describe, ADAPTER)
