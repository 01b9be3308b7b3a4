"""A tiny Qwen2-VL."""

from __future__ import annotations

from typing import Any

from evalkit.models.conformance.checkpoint import HIDDEN, TinyCheckpoint, text_config
from evalkit.models.families._qwen.tiny import MEDIA, SPECIAL_TOKENS, TOKEN_IDS, settings


def tiny_config() -> Any:
    """Transformers' configuration."""
    from transformers import Qwen2VLConfig

    vision = {"depth": 1, "embed_dim": 32, "hidden_size": HIDDEN, "num_heads": 2, "mlp_ratio": 2}
    text = text_config("qwen2_vl_text", section=(4, 6, 6))
    return Qwen2VLConfig(text_config=text, vision_config=vision, **TOKEN_IDS)


TINY = TinyCheckpoint(tiny_config, SPECIAL_TOKENS, MEDIA, settings("Qwen2VLProcessor", 1))
