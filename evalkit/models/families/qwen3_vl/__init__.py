"""Qwen3-VL: every frame of a video is a block after its timestamp."""

from evalkit.models.families.family import Family

FAMILY = Family(
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
    wording="concise",
)
