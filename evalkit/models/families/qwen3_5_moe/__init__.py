"""Qwen3.5 with a mixture of experts: all but the MLPs is Qwen3.5's."""

from evalkit.models.families.family import Family

FAMILY = Family(
    "qwen3_5_moe",
    "Qwen3.5, 3.6 and 3.8 with experts: attention in every fourth layer, boxes in thousandths",
    native_rope="mrope-i(spatial_reset=false)",
    box_space="norm1000",
    module="evalkit.models.families.qwen3_5_moe.adapter",
    examples=("Qwen/Qwen3.5-35B-A3B", "Qwen/Qwen3.5-397B-A17B"),
    wording="concise",
)
