"""A tiny PaddleOCR-VL."""

from __future__ import annotations

from typing import Any

from evalkit.models.conformance.checkpoint import TinyCheckpoint, text_config, token_id

SPECIAL_TOKENS = ("<|IMAGE_START|>", "<|IMAGE_END|>", "<|IMAGE_PLACEHOLDER|>")


def tiny_config() -> Any:
    """Transformers' configuration."""
    from transformers import PaddleOCRVLConfig

    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    }
    return PaddleOCRVLConfig(
        text_config=text_config("paddleocr_vl_text", section=(4, 6, 6)),
        vision_config=vision,
        image_token_id=token_id(SPECIAL_TOKENS, "<|IMAGE_PLACEHOLDER|>"),
        vision_start_token_id=token_id(SPECIAL_TOKENS, "<|IMAGE_START|>"),
        vision_end_token_id=token_id(SPECIAL_TOKENS, "<|IMAGE_END|>"),
        video_token_id=271,
        tie_word_embeddings=False,
    )


TINY = TinyCheckpoint(
    tiny_config,
    SPECIAL_TOKENS,
    {"image": "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"},
    {
        "preprocessor_config.json": {
            "image_processor_type": "PaddleOCRVLImageProcessor",
            "patch_size": 14,
            "merge_size": 2,
            "temporal_patch_size": 1,
            "size": {"shortest_edge": 4 * 28**2, "longest_edge": 64 * 28**2},
        },
        "processor_config.json": {"processor_class": "PaddleOCRVLProcessor"},
    },
    {"image_token": "<|IMAGE_PLACEHOLDER|>"},
)
