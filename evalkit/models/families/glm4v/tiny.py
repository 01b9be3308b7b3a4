"""A tiny GLM-4.1V."""

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
    from transformers import Glm4vConfig

    return Glm4vConfig(text_config=glm_text_config("glm4v_text"), vision_config=VISION, **TOKEN_IDS)


TINY = TinyCheckpoint(tiny_config, SPECIAL_TOKENS, MEDIA, settings("Glm4v", "Glm4vProcessor"))
