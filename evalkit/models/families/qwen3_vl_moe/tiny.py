"""A tiny Qwen3-VL with four experts, two for a token."""

from __future__ import annotations

from typing import Any

from evalkit.models.conformance.checkpoint import TinyCheckpoint, text_config
from evalkit.models.families._qwen.tiny import MEDIA, SPECIAL_TOKENS, TOKEN_IDS, settings
from evalkit.models.families.qwen3_vl.tiny import VISION


def tiny_config() -> Any:
    """Transformers' configuration."""
    from transformers import Qwen3VLMoeConfig

    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
    text = text_config("qwen3_vl_moe_text", section=(6, 5, 5), **experts)
    text["rope_parameters"]["mrope_interleaved"] = True
    return Qwen3VLMoeConfig(text_config=text, vision_config=VISION, **TOKEN_IDS)


TINY = TinyCheckpoint(
    tiny_config, SPECIAL_TOKENS, MEDIA, settings("Qwen3VLProcessor", 8), rotates_like="qwen3_vl"
)
