"""A tiny GLM-4.6V-Flash."""

from __future__ import annotations

from typing import Any

from evalkit.models.conformance.checkpoint import TinyCheckpoint
from evalkit.models.families._glm.tiny import (
    MEDIA,
    SPECIAL_TOKENS,
    TOKEN_IDS,
    VISION,
    glm_text_config,
    settings,
)


def tiny_config() -> Any:
    """Transformers' configuration."""
    from transformers import Glm46VConfig

    vision = VISION | {"model_type": "glm4v_vision"}
    return Glm46VConfig(text_config=glm_text_config("glm4v_text"), vision_config=vision, **TOKEN_IDS)


TINY = TinyCheckpoint(
    tiny_config, SPECIAL_TOKENS, MEDIA, settings("Glm46V", "Glm46VProcessor"), rotates_like="glm4v"
)
