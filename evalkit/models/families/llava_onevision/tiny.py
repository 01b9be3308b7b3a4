"""A tiny LLaVA-OneVision: tiles of 42 pixels and 9 tokens."""

from __future__ import annotations

from typing import Any

from evalkit.models.conformance.checkpoint import TinyCheckpoint, text_config, token_id

SPECIAL_TOKENS = ("<a>", "<b>", "<image>", "<video>")  # two fillers: ids are those of the other families
TILE = 42
CANVASES = [[42, 42], [42, 84], [84, 42], [84, 84]]


def tiny_config() -> Any:
    """Transformers' configuration."""
    from transformers import LlavaOnevisionConfig

    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": TILE,
        "patch_size": 14,
    }
    return LlavaOnevisionConfig(
        text_config=text_config("qwen2"),
        vision_config=vision,
        image_grid_pinpoints=CANVASES,
        image_token_index=token_id(SPECIAL_TOKENS, "<image>"),
        video_token_index=token_id(SPECIAL_TOKENS, "<video>"),
    )


_PIXELS = {
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "size": {"height": TILE, "width": TILE},
}

TINY = TinyCheckpoint(
    tiny_config,
    SPECIAL_TOKENS,
    {"image": "<image>\n", "video": "<video>\n"},
    {
        "preprocessor_config.json": {**_PIXELS, "image_grid_pinpoints": CANVASES},
        "video_preprocessor_config.json": _PIXELS,
        "processor_config.json": {
            "image_token": "<image>",
            "num_image_tokens": 9,
            "processor_class": "LlavaOnevisionProcessor",
            "video_token": "<video>",
            "vision_feature_select_strategy": "full",
        },
    },
)
