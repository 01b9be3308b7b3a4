"""Messages between evalkit and its vLLM process: a line of JSON, and the bytes of the arrays that it names.

A message is an object with ``op``. To the child go ``start`` (once), ``add``, ``abort`` and ``forget``; from
it come ``hello`` and ``ready`` or ``refused`` (once), ``finished``, and ``failed`` when vLLM itself breaks.
The end of its input ends the child.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

PROTOCOL = 2
"""Raised with every change of a message's meaning."""

Array = npt.NDArray[Any]
Message = tuple[dict[str, Any], list[Array]]


def write_message(file: IO[bytes], head: dict[str, Any], arrays: Sequence[Array] = ()) -> None:
    """Write one message; arrays are copied only if their bytes aren't in order."""
    whole = [np.ascontiguousarray(each) for each in arrays]
    described = [[each.dtype.str, list(each.shape)] for each in arrays]
    file.write(json.dumps({**head, "arrays": described}).encode() + b"\n")
    for each in whole:
        file.write(each.data if each.size else b"")
    file.flush()


def read_message(file: IO[bytes]) -> Message | None:
    """Read one message; None at the end of the stream.

    Raises:
        ValueError: what was read is no message, or its end is missing.
    """
    line = file.readline()
    if not line:
        return None
    head = json.loads(line)
    if not isinstance(head, dict) or not isinstance(head.get("op"), str):
        raise ValueError(f"no message: {line[:80]!r}")
    arrays = []
    for dtype, shape in head.pop("arrays"):
        array: Array = np.empty(shape, np.dtype(dtype))
        if file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
            raise ValueError("the stream ended within a message")
        arrays.append(array)
    return head, arrays
