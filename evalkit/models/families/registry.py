"""The model families as data: readable without loading any of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Family:
    """What is known about a family before a checkpoint is opened.

    ``name`` is the ``model_type`` in a checkpoint's ``config.json``. ``module`` holds
    ``describe(source, name, variant, load_config)``, which gives a ``ModelInfo``; it is imported only when needed.
    ``native_rope`` is the variant that the family's released checkpoints were trained with;
    ``box_space`` the convention of its coordinates (see ``metrics.base.Answer``).
    """

    name: str
    summary: str
    native_rope: str
    box_space: str
    module: str
    examples: tuple[str, ...] = ()


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            Family(
                "qwen2_vl",
                "Qwen2-VL: images and videos, boxes in thousandths of the image",
                native_rope="mrope",
                box_space="norm1000",
                module="evalkit.models.families.qwen2_vl.adapter",
                examples=(
                    "Qwen/Qwen2-VL-2B-Instruct",
                    "Qwen/Qwen2-VL-7B-Instruct",
                    "Qwen/Qwen2-VL-72B-Instruct",
                ),
            ),
            Family(
                "qwen2_5_vl",
                "Qwen2.5-VL: images and videos, absolute time, boxes in pixels of the resized image",
                native_rope="mrope",
                box_space="abs_resized",
                module="evalkit.models.families.qwen2_5_vl.adapter",
                examples=(
                    "tiny",
                    "Qwen/Qwen2.5-VL-3B-Instruct",
                    "Qwen/Qwen2.5-VL-7B-Instruct",
                    "Qwen/Qwen2.5-VL-72B-Instruct",
                ),
            ),
            Family(
                "qwen3_vl",
                "Qwen3-VL: timestamps between frames, boxes in thousandths of the image",
                native_rope="mrope-i(spatial_reset=false)",
                box_space="norm1000",
                module="evalkit.models.families.qwen3_vl.adapter",
                examples=(
                    "Qwen/Qwen3-VL-2B-Instruct",
                    "Qwen/Qwen3-VL-4B-Instruct",
                    "Qwen/Qwen3-VL-8B-Instruct",
                    "Qwen/Qwen3-VL-32B-Instruct",
                ),
            ),
            Family(
                "llava_onevision",
                "LLaVA-OneVision: anyres images, pooled video frames, boxes as fractions of the image",
                native_rope="vanilla",
                box_space="norm1",
                module="evalkit.models.families.llava_onevision.adapter",
                examples=(
                    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
                    "llava-hf/llava-onevision-qwen2-7b-ov-hf",
                    "llava-hf/llava-onevision-qwen2-72b-ov-hf",
                ),
            ),
            Family(
                "internvl",
                "InternVL3: images in tiles, a tile for every video frame, boxes in thousandths of the image",
                native_rope="vanilla",
                box_space="norm1000",
                module="evalkit.models.families.internvl.adapter",
                examples=(
                    "OpenGVLab/InternVL3-1B-hf",
                    "OpenGVLab/InternVL3-8B-hf",
                    "OpenGVLab/InternVL3-78B-hf",
                ),
            ),
            Family(
                "mock",
                "a deterministic model without weights: echo, fixed answers, fail, loop, run out of memory",
                native_rope="mrope",
                box_space="abs_resized",
                module="evalkit.models.mock",
                examples=(
                    "mock",
                    "mock:fixed=TEXT",
                    "mock:answers=FILE.json",
                    "mock:fail",
                    "mock:loop",
                    "mock:oom=N",
                    "mock:slow=SECONDS",
                ),
            ),
        )
    }
)
