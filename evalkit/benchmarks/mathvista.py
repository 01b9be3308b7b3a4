"""MathVista's rows: choices and the labels of their metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evalkit.benchmarks.options import lettered

Row = Mapping[str, Any]


def options(row: Row) -> dict[str, str]:
    """Choices by letter; none for a free-form question."""
    return lettered(row["choices"] or ())


def _label(name: str) -> Callable[[Row], str | tuple[str, ...]]:
    def read(row: Row) -> str | tuple[str, ...]:
        value = row["metadata"][name]
        return str(value) if isinstance(value, str | int) else tuple(value or ())

    return read


# The official breakdowns.
LABELS: Mapping[str, Callable[[Row], str | tuple[str, ...]]] = {
    name: _label(name) for name in ("task", "category", "context", "source", "grade", "language", "skills")
}
