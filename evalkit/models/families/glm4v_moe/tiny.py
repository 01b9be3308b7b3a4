"""A tiny GLM-4.5V: a dense layer, and one with four experts, two for a token, beside one for all."""

from __future__ import annotations

from typing import Any

from evalkit.models.conformance.checkpoint import TinyCheckpoint
from evalkit.models.families._glm.tiny import (
    MEDIA,
    SPECIAL_TOKENS,
    TOKEN_IDS,
    VISION,
    glm_text_config,
    settings,
)

EXPERTS = {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "first_k_dense_replace": 1,
}


def tiny_config() -> Any:
    """Transformers' configuration."""
    from transformers import Glm4vMoeConfig

    text = glm_text_config("glm4v_moe_text", **EXPERTS)
    return Glm4vMoeConfig(text_config=text, vision_config=VISION, **TOKEN_IDS)


TINY = TinyCheckpoint(
    tiny_config, SPECIAL_TOKENS, MEDIA, settings("Glm4v", "Glm4vProcessor"), rotates_like="qwen3_5"
)
