"""Figures that commands write: drawn by matplotlib, which is an extra."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from evalkit.core.atomic_files import atomic_path
from evalkit.core.errors import EnvironmentProblem, UsageError


def write_figure(module: str, what: Any, figure: Path, endings: str = ".png or .svg") -> None:
    """Have ``module``'s function ``draw(what, file)`` draw into ``figure``.

    Raises:
        EnvironmentProblem: matplotlib is not installed.
        UsageError: the file's ending is none of ``endings``.
    """
    try:
        draw = importlib.import_module(module).draw
    except ImportError:
        raise EnvironmentProblem(
            "matplotlib is not installed", "figures are drawn with it", "pip install 'evalkit[plots]'"
        ) from None
    try:
        with atomic_path(figure) as place:
            draw(what, place)
    except ValueError as error:
        raise UsageError(f"figure `{figure}`", str(error), f"give it a name that ends in {endings}") from None
