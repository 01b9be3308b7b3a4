"""What a model of a family that evalkit doesn't know would need to be run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GUIDE = "docs/add-a-family.md"


def needs(config: Mapping[str, Any]) -> str:
    """What stands between a model and evalkit, from the content of its config.json.

    >>> needs({"model_type": "florence2", "is_encoder_decoder": True})
    'it is an encoder-decoder, and evalkit runs decoders that rotate queries and keys'
    """
    text = _text_config(config)
    if config.get("is_encoder_decoder") or text.get("is_encoder_decoder"):
        return "it is an encoder-decoder, and evalkit runs decoders that rotate queries and keys"
    layers = text.get("layer_types")
    kinds = sorted({str(each) for each in layers}) if isinstance(layers, list) else []
    strange = [each for each in kinds if each not in ("full_attention", "linear_attention")]
    if strange:
        return (
            f"it has layers of the kind `{'`, `'.join(strange)}`, which evalkit's engine lacks, "
            f"and then a family of its own ({GUIDE})"
        )
    return f"it needs a family of its own: how it lays out, prepares and encodes media ({GUIDE})"


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part about the language model; of omni models, of the one that answers."""
    for name in ("thinker_config", "text_config", "llm_config", "language_config"):
        part = config.get(name)
        if isinstance(part, Mapping):
            return _text_config(part)
    return config
