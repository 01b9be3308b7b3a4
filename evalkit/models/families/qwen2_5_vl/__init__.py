"""Qwen2.5-VL: a video is one block, time is counted in seconds."""

from evalkit.models.families.family import Family

FAMILY = Family(
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
)
