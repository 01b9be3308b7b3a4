"""Qwen2-VL: no absolute time, boxes in thousandths of the image."""

from __future__ import annotations

from functools import partial
from typing import Any

from evalkit.models import hf_model
from evalkit.models.families.qwen.preprocess import QwenPreprocessor
from evalkit.models.families.qwen.vision import compile_tower, encode
from evalkit.models.families.registry import FAMILIES


def _vision_width(config: Any) -> tuple[int, int]:
    vision = config.vision_config
    return vision.embed_dim, int(vision.embed_dim * vision.mlp_ratio)


FAMILY_ADAPTER = hf_model.FamilyAdapter(
    FAMILIES["qwen2_vl"],
    "Qwen2VLForConditionalGeneration",
    QwenPreprocessor.placeholders,
    # The model answers with <|box_start|>(x1,y1),(x2,y2)<|box_end|>. Its evaluation code is not
    # published; this is the wording that the Qwen team gives for its successors.
    "Locate {} in this image and output the bbox coordinates.",
    QwenPreprocessor.from_processor,
    encode,
    "model.visual",
    ("model.visual.merger",),
    vision_width=_vision_width,
    compile_tower=compile_tower,
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
