"""Qwen3.5 and later: three of four layers are gated delta nets, and a quarter of each head is rotated."""

from evalkit.models.families.family import Family

FAMILY = Family(
    "qwen3_5",
    "Qwen3.5, 3.6 and 3.8: attention in every fourth layer, timestamps between frames, boxes in thousandths",
    native_rope="mrope-i(spatial_reset=false)",
    box_space="norm1000",
    module="evalkit.models.families.qwen3_5.adapter",
    examples=("Qwen/Qwen3.5-4B", "Qwen/Qwen3.5-9B", "Qwen/Qwen3.5-27B"),
    wording="concise",
)
