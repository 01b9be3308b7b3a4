"""Qwen2.5-VL: absolute time, boxes in pixels of the resized image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from evalkit.models import hf_model
from evalkit.models.families._qwen.preprocess import QwenPreprocessor
from evalkit.models.families._qwen.vision import compile_tower, encode
from evalkit.models.families.adapter import FamilyAdapter
from evalkit.models.families.qwen2_5_vl import FAMILY
from evalkit.rope.hf.layouts.grid_inputs import GRIDS


def _vision_mlps(model: Any) -> Iterator[Any]:
    return (block.mlp for block in model.model.visual.blocks)


def _time_in_seconds(config: Any) -> dict[str, Any]:
    return {"absolute_time": True, "tokens_per_second": float(config.vision_config.tokens_per_second)}


FAMILY_ADAPTER = FamilyAdapter(
    family=FAMILY,
    model_class="Qwen2_5_VLForConditionalGeneration",
    placeholders=QwenPreprocessor.placeholders,
    locate="Locate {} in this image and output the bbox coordinates in JSON format.",
    preprocessor=QwenPreprocessor.from_processor,
    encode=encode,
    layout=replace(GRIDS, time_rule=_time_in_seconds),
    vision_tower="model.visual",
    connector=("model.visual.merger",),
    pad_modules=_vision_mlps,
    compile_tower=compile_tower,
    text_after_video_differs=True,
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
