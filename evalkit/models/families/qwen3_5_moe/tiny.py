"""A tiny Qwen3.5 with four experts, two for a token, and one for all."""

from __future__ import annotations

from typing import Any

from evalkit.models.conformance.checkpoint import TinyCheckpoint
from evalkit.models.families._qwen.tiny import MEDIA, SPECIAL_TOKENS, TOKEN_IDS, settings
from evalkit.models.families.qwen3_5.tiny import VISION, hybrid_config

EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "shared_expert_intermediate_size": 48,
}


def tiny_config() -> Any:
    """Transformers' configuration."""
    from transformers import Qwen3_5MoeConfig

    text = hybrid_config("qwen3_5_moe_text", **EXPERTS)
    del text["intermediate_size"]
    return Qwen3_5MoeConfig(text_config=text, vision_config=VISION, **TOKEN_IDS)


TINY = TinyCheckpoint(
    tiny_config, SPECIAL_TOKENS, MEDIA, settings("Qwen3VLProcessor", 8), rotates_like="qwen3_5"
)
