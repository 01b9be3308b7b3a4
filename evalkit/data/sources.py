"""What a data set may tell of the files that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class Local(Protocol):
    """A data set that can name everything on this machine that decides its rows."""

    def sources(self, data_root: str | None) -> Sequence[Path] | None:
        """Files and folders; None if rows come from elsewhere."""
        ...
