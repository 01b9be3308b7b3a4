"""Standard JSON: without NaN and infinities, which other programs can't read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any


def finite_json(value: Any) -> Any:
    """A value in which every number that is not finite is replaced by null.

    >>> finite_json({"low": float("nan"), "box": (1.5, float("inf"))})
    {'low': None, 'box': [1.5, None]}
    """
    if isinstance(value, Mapping):
        return {name: finite_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An ``object_pairs_hook`` for objects without duplicate names.

    Raises:
        ValueError: a name occurs twice, so that it is not known which value is meant.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`{twice}` stands there twice")
    return found


def to_json(value: Any, indent: int | None = 2) -> str:
    """JSON text of a value; see :func:`finite_json`."""
    return json.dumps(finite_json(value), indent=indent, allow_nan=False)
