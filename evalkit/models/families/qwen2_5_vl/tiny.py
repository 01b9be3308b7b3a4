"""A tiny Qwen2.5-VL."""

from __future__ import annotations

from typing import Any

from evalkit.models.conformance.checkpoint import HIDDEN, TinyCheckpoint, text_config
from evalkit.models.families._qwen.tiny import MEDIA, SPECIAL_TOKENS, TOKEN_IDS, settings


def tiny_config() -> Any:
    """Transformers' configuration."""
    from transformers import Qwen2_5_VLConfig

    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": HIDDEN,
        "window_size": 56,
        "fullatt_block_indexes": [0],
        "tokens_per_second": 2,
    }
    text = text_config("qwen2_5_vl_text", section=(4, 6, 6))
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, **TOKEN_IDS)


TINY = TinyCheckpoint(tiny_config, SPECIAL_TOKENS, MEDIA, settings("Qwen2_5_VLProcessor", 1))
