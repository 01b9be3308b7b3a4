"""Qwen3-VL with a mixture of experts: prompts, positions and tower are Qwen3-VL's."""

from evalkit.models.families.family import Family

FAMILY = Family(
    "qwen3_vl_moe",
    "Qwen3-VL with experts: timestamps between frames, boxes in thousandths of the image",
    native_rope="mrope-i(spatial_reset=false)",
    box_space="norm1000",
    module="evalkit.models.families.qwen3_vl_moe.adapter",
    examples=(
        "Qwen/Qwen3-VL-30B-A3B-Instruct",
        "Qwen/Qwen3-VL-235B-A22B-Instruct",
    ),
    wording="concise",
)
