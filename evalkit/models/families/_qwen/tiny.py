"""What the tiny checkpoints of the Qwen families share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.core.types import MediaKind
from evalkit.models.conformance.checkpoint import token_id

SPECIAL_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")

MEDIA: Mapping[MediaKind, str] = {
    "image": "<|vision_start|><|image_pad|><|vision_end|>",
    "video": "<|vision_start|><|video_pad|><|vision_end|>",
}

TOKEN_IDS = {
    f"{name}_token_id": token_id(SPECIAL_TOKENS, token)
    for name, token in zip(("vision_start", "vision_end", "image", "video"), SPECIAL_TOKENS, strict=True)
}

HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


def settings(processor: str, frames: int) -> dict[str, dict[str, Any]]:
    """Files of a processor for images of 4 to 64 tokens, and as many in ``frames`` frames together."""
    sizes = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2, **HALF}
    image = {**sizes, "size": {"shortest_edge": 4 * 28**2, "longest_edge": 64 * 28**2}}
    video = {**sizes, "size": {"shortest_edge": 4 * 28**2, "longest_edge": 16 * frames * 28**2}}
    kind = "Qwen3VL" if processor.startswith("Qwen3") else "Qwen2VL"
    return {
        "preprocessor_config.json": image | {"image_processor_type": "Qwen2VLImageProcessor"},
        "video_preprocessor_config.json": video | {"video_processor_type": f"{kind}VideoProcessor"},
        "processor_config.json": {"processor_class": processor},
    }
