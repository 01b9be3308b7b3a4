"""A tiny Qwen3.5: a gated delta net between two layers that attend, each rotating a quarter of a head."""

from __future__ import annotations

from typing import Any

from evalkit.models.conformance.checkpoint import TinyCheckpoint, text_config
from evalkit.models.families._qwen.tiny import MEDIA, SPECIAL_TOKENS, TOKEN_IDS, settings
from evalkit.models.families.qwen3_vl.tiny import VISION as QWEN3_VL_VISION

VISION = {name: value for name, value in QWEN3_VL_VISION.items() if name != "deepstack_visual_indexes"}

HYBRID = {
    "head_dim": 128,
    "num_hidden_layers": 3,
    "layer_types": ["full_attention", "linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}


def hybrid_config(model_type: str, **more: Any) -> dict[str, Any]:
    """Configuration of a language model of this kind."""
    text = text_config(model_type, section=(6, 5, 5), **HYBRID, **more)
    text["rope_parameters"] |= {"mrope_interleaved": True, "partial_rotary_factor": 0.25}
    return text


def tiny_config() -> Any:
    """Transformers' configuration."""
    from transformers import Qwen3_5Config

    return Qwen3_5Config(text_config=hybrid_config("qwen3_5_text"), vision_config=VISION, **TOKEN_IDS)


TINY = TinyCheckpoint(tiny_config, SPECIAL_TOKENS, MEDIA, settings("Qwen3VLProcessor", 8))
