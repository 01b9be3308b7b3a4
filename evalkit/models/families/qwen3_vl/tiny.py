"""A tiny Qwen3-VL."""

from __future__ import annotations

from typing import Any

from evalkit.models.conformance.checkpoint import HIDDEN, TinyCheckpoint, text_config
from evalkit.models.families._qwen.tiny import MEDIA, SPECIAL_TOKENS, TOKEN_IDS, settings

VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "out_hidden_size": HIDDEN,
    "patch_size": 14,
    "deepstack_visual_indexes": [0],
    "num_position_embeddings": 16,
}


def tiny_config() -> Any:
    """Transformers' configuration."""
    from transformers import Qwen3VLConfig

    text = text_config("qwen3_vl_text", section=(6, 5, 5))
    text["rope_parameters"]["mrope_interleaved"] = True
    return Qwen3VLConfig(text_config=text, vision_config=VISION, **TOKEN_IDS)


TINY = TinyCheckpoint(tiny_config, SPECIAL_TOKENS, MEDIA, settings("Qwen3VLProcessor", 8))
