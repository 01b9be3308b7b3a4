"""Optional protocols of data sets: which files they read, and where relative paths and media lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from evalkit.core.types import MediaRef


@runtime_checkable
class DeclaresSources(Protocol):
    """A data set that can name everything on this machine that decides its rows."""

    def sources(self, data_root: str | None) -> Sequence[Path] | None:
        """Files and folders; None if rows come from another place."""
        ...


@runtime_checkable
class RelativeSource(Protocol):
    """A data set whose relative paths start at the folder of the file that declares its task."""

    def declared_in(self, folder: Path) -> Self:
        """The same, declared in ``folder``."""
        ...


@runtime_checkable
class MediaLocator(Protocol):
    """A data set that finds the media that its rows name."""

    def locate(self, ref: MediaRef) -> MediaRef:
        """The medium as a file on this machine.

        Raises:
            ValueError: there is none; says why.
        """
        ...
