"""Qwen3-VL: every frame of a video is a block of its own after its timestamp; boxes in thousandths."""

from __future__ import annotations

from functools import partial

from evalkit.models import hf_model
from evalkit.models.families.qwen.preprocess import QwenPreprocessor
from evalkit.models.families.qwen.vision import compile_tower, encode
from evalkit.models.families.registry import FAMILIES
from evalkit.models.processor import Processor


def _video_limits_note(processor: Processor) -> str | None:
    if processor.sources["video"] != "preprocessor_config.json":
        return None
    most = processor.part("video").size["longest_edge"]
    return (
        "the checkpoint has no settings of its own for videos: as in transformers, all frames of a video "
        f"share the limits of one image ({most:,} pixels); copy the base model's "
        "video_preprocessor_config.json into the folder to have its own"
    )


FAMILY_ADAPTER = hf_model.FamilyAdapter(
    FAMILIES["qwen3_vl"],
    "Qwen3VLForConditionalGeneration",
    QwenPreprocessor.placeholders,
    "Locate {} in this image and output the bbox coordinates in JSON format.",
    partial(QwenPreprocessor.from_processor, by_frame=True),
    encode,
    "model.visual",
    ("model.visual.merger", "model.visual.deepstack_merger_list"),
    note=_video_limits_note,
    compile_tower=compile_tower,
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
