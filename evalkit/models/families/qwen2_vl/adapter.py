"""Qwen2-VL: boxes in thousandths of the image."""

from __future__ import annotations

from functools import partial
from typing import Any

from evalkit.models import hf_model
from evalkit.models.families._qwen.preprocess import QwenPreprocessor
from evalkit.models.families._qwen.vision import compile_tower, encode
from evalkit.models.families.adapter import FamilyAdapter
from evalkit.models.families.qwen2_vl import FAMILY
from evalkit.rope.hf.layouts.grid_inputs import GRIDS


def _vision_width(config: Any) -> tuple[int, int]:
    vision = config.vision_config
    return vision.embed_dim, int(vision.embed_dim * vision.mlp_ratio)


FAMILY_ADAPTER = FamilyAdapter(
    family=FAMILY,
    model_class="Qwen2VLForConditionalGeneration",
    placeholders=QwenPreprocessor.placeholders,
    # The model answers with <|box_start|>(x1,y1),(x2,y2)<|box_end|>. Its evaluation code is not
    # published; this is the wording that the Qwen team gives for its successors.
    locate="Locate {} in this image and output the bbox coordinates.",
    preprocessor=QwenPreprocessor.from_processor,
    encode=encode,
    layout=GRIDS,
    vision_tower="model.visual",
    connector=("model.visual.merger",),
    vision_width=_vision_width,
    compile_tower=compile_tower,
    text_after_video_differs=True,
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
