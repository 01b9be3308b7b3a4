"""JSON as its standard has it: without NaN and infinities, which other programs can't read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def finite(value: Any) -> Any:
    """A value with null for every number within that is not finite.

    >>> finite({"low": float("nan"), "box": (1.5, float("inf"))})
    {'low': None, 'box': [1.5, None]}
    """
    if isinstance(value, Mapping):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Any, indent: int | None = 2) -> str:
    """JSON text of a value; see :func:`finite`."""
    return json.dumps(finite(value), indent=indent, allow_nan=False)
