"""Plain text layouts for lists and single entries."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.core.console import inline


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns; the last one may be as long as it likes.

    >>> print(columns([("mrope", "native"), ("mrope-i", "interleaved")]))
    mrope    native
    mrope-i  interleaved
    """
    if not rows:
        return ""
    rows = [[inline(cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows)


def fields(title: str, values: Mapping[str, Any]) -> str:
    """A title and its fields, wrapped to the terminal; a text of several lines stands below its name."""
    values = {inline(name): value for name, value in values.items()}
    width = max((len(name) for name, value in values.items() if "\n" not in str(value)), default=0) + 2
    room = max(40, min(shutil.get_terminal_size().columns, 120) - width - 2)
    lines = [inline(title)]
    for name, value in values.items():
        if "\n" in str(value):
            lines += [f"  {name}:", *(f"    {line}".rstrip() for line in str(value).splitlines())]
            continue
        wrapped = textwrap.wrap(str(value), room) or [""]
        lines.append(f"  {name.ljust(width)}{wrapped[0]}")
        lines.extend(" " * (width + 2) + line for line in wrapped[1:])
    return "\n".join(lines)
