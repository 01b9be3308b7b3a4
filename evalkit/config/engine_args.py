"""Arguments for an engine that isn't ours: ``NAME=VALUE`` lists, JSON, or a mapping."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BeforeValidator

from evalkit.rope.grammar import split_variants


def read_engine_args(value: Any) -> Any:
    """A mapping of texts, each a JSON object or ``NAME=VALUE`` in a comma list; values are JSON, or text.

    Raises:
        ValueError: a text is neither.

    >>> read_engine_args(["max_model_len=8192,quantization=fp8", '{"enforce_eager": true}'])
    {'max_model_len': 8192, 'quantization': 'fp8', 'enforce_eager': True}
    """
    if not isinstance(value, list | tuple | str):
        return value
    found: dict[str, Any] = {}
    for text in [value] if isinstance(value, str) else value:
        if not isinstance(text, str):
            raise ValueError(f"`{text}` is not NAME=VALUE")
        found |= _object(text) if text.lstrip().startswith("{") else dict(map(_pair, split_variants(text)))
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ValueError(f"`{text}` is no JSON object: {error}") from None
    return found


def _pair(text: str) -> tuple[str, Any]:
    name, equals, written = (each.strip() for each in text.partition("="))
    if not (name and equals):
        raise ValueError(f"`{text.strip()}` is not NAME=VALUE")
    try:
        return name, json.loads(written)
    except ValueError:
        return name, {"True": True, "False": False}.get(written, written)


EngineArgs = Annotated[
    dict[str, Any],
    BeforeValidator(read_engine_args, json_schema_input_type=str | list[str] | dict[str, Any]),
]
