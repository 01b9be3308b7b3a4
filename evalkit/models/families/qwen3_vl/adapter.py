"""Qwen3-VL: every frame of a video is a block of its own after its timestamp; boxes in thousandths."""

from __future__ import annotations

from functools import partial

from evalkit.models import hf_model
from evalkit.models.families._qwen.preprocess import QwenPreprocessor
from evalkit.models.families._qwen.vision import compile_tower, encode
from evalkit.models.families.adapter import FamilyAdapter
from evalkit.models.families.qwen3_vl import FAMILY
from evalkit.models.processor import Processor
from evalkit.rope.hf.layouts.grid_inputs import GRIDS_BY_FRAME


def _video_limits_note(processor: Processor) -> str | None:
    if processor.sources["video"] != "preprocessor_config.json":
        return None
    most = processor.part("video").size["longest_edge"]
    return (
        "the checkpoint has no settings of its own for videos: as in transformers, all frames of a video "
        f"share the limits of one image ({most:,} pixels); copy the base model's "
        "video_preprocessor_config.json into the folder to have its own"
    )


FAMILY_ADAPTER = FamilyAdapter(
    family=FAMILY,
    model_class="Qwen3VLForConditionalGeneration",
    placeholders=QwenPreprocessor.placeholders,
    locate="Locate {} in this image and output the bbox coordinates in JSON format.",
    preprocessor=partial(QwenPreprocessor.from_processor, by_frame=True),
    encode=encode,
    layout=GRIDS_BY_FRAME,
    vision_tower="model.visual",
    connector=("model.visual.merger", "model.visual.deepstack_merger_list"),
    note=_video_limits_note,
    compile_tower=compile_tower,
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
