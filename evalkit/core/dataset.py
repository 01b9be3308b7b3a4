"""What a data set may offer beside its rows (see :class:`evalkit.core.task.Dataset`)."""

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
class OpenableDataset(Protocol):
    """A data set whose commit or revision is known only when it is looked for."""

    def open(self, data_root: str | None) -> Self:
        """The same, found in a local mirror or on the hub; its ``describe`` says which version it is."""
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
