"""A tiny InternVL: tiles of 56 pixels and 4 tokens."""

from __future__ import annotations

from typing import Any

from evalkit.models.conformance.checkpoint import TinyCheckpoint, text_config, token_id

SPECIAL_TOKENS = ("<img>", "</img>", "<IMG_CONTEXT>", "<video>", "<ref>", "</ref>")
TILE = 56


def tiny_config() -> Any:
    """Transformers' configuration."""
    from transformers import InternVLConfig

    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": [TILE, TILE],
        "patch_size": [14, 14],
    }
    return InternVLConfig(
        text_config=text_config("qwen2"),
        vision_config=vision,
        image_token_id=token_id(SPECIAL_TOKENS, "<IMG_CONTEXT>"),
        image_seq_length=4,
    )


_PIXELS = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "size": {"height": TILE, "width": TILE},
}

TINY = TinyCheckpoint(
    tiny_config,
    SPECIAL_TOKENS,
    {"image": "<IMG_CONTEXT>\n", "video": "<video>\n"},
    {
        "preprocessor_config.json": {**_PIXELS, "crop_to_patches": True, "min_patches": 1, "max_patches": 4},
        "video_preprocessor_config.json": _PIXELS,
        "processor_config.json": {"image_seq_length": 4, "processor_class": "InternVLProcessor"},
    },
    {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    },
)
