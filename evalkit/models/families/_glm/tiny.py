"""What the tiny checkpoints of the GLM-V families share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.core.types import MediaKind
from evalkit.models.conformance.checkpoint import text_config, token_id

WIDTH = 256
"""Of the language model: half of each of its four heads of 64 channels is rotated."""

SPECIAL_TOKENS = (
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
    "<|image|>",
    "<|video|>",
)

MEDIA: Mapping[MediaKind, str] = {
    "image": "<|begin_of_image|><|image|><|end_of_image|>",
    "video": "<|begin_of_video|><|video|><|end_of_video|>",
}

VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "out_hidden_size": WIDTH,
    "image_size": 56,
    "patch_size": 14,
}

TOKEN_IDS = {
    f"{name}_token_id": token_id(SPECIAL_TOKENS, token)
    for name, token in zip(
        ("image_start", "image_end", "video_start", "video_end", "image", "video"),
        SPECIAL_TOKENS,
        strict=True,
    )
}


def glm_text_config(model_type: str, **more: Any) -> dict[str, Any]:
    """Configuration of a language model of this kind."""
    text = text_config(model_type, section=(4, 6, 6), **{"hidden_size": WIDTH, "head_dim": 64} | more)
    text["rope_parameters"]["partial_rotary_factor"] = 0.5
    return text


def settings(name: str, processor: str) -> dict[str, dict[str, Any]]:
    """Files of a processor for images of 4 to 64 tokens, and as many in 8 frames together."""
    sizes = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2}
    limits = {"shortest_edge": 2 * 4 * 28**2, "longest_edge": 2 * 64 * 28**2}
    parts = {"preprocessor_config.json": "image", "video_preprocessor_config.json": "video"}
    files: dict[str, dict[str, Any]] = {
        file: {**sizes, "size": limits, f"{kind}_processor_type": f"{name}{kind.title()}Processor"}
        for file, kind in parts.items()
    }
    return files | {"processor_config.json": {"processor_class": processor}}
