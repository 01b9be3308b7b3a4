"""Qwen2-VL: a video is one block, time is counted in frames."""

from evalkit.models.families.family import Family

FAMILY = Family(
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
)
