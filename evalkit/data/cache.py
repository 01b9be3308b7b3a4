"""A content-addressed cache of media: embedded bytes become files that worker processes can open.

Parquet data sets hand out encoded images as bytes. Holding a whole benchmark's bytes in memory,
and sending them to worker processes, costs gigabytes; a file costs a name. Identical images
(several questions about one page) are stored once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.core.atomic_files import atomic_path, write_atomic
from evalkit.core.errors import EnvironmentProblem
from evalkit.core.types import MediaRef
from evalkit.data.frame_folders import as_video, frame_files, odd_file


def cache_root() -> Path:
    """``EVALKIT_CACHE``, else ``$XDG_CACHE_HOME/evalkit``, else ``~/.cache/evalkit``."""
    own = os.environ.get("EVALKIT_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalkit"


@dataclass(frozen=True)
class MediaCache:
    """Stores media bytes under their SHA-256 in ``root``."""

    root: Path

    def to_file(self, ref: MediaRef) -> MediaRef:
        """Return ``ref`` with a file's path instead of bytes or of a folder of frames; a path of a
        file is returned unchanged. What is to be drawn is drawn, once.
        """
        if ref.drawn is not None:
            return _drawn(ref, ref.drawn)
        if ref.data is None:
            return _one_file(ref, self.root / "frames") if ref.frame_rate else ref
        digest = hashlib.sha256(ref.data).hexdigest()
        path = self.root / digest[:2] / digest
        if not path.is_file():
            with writing(self.root):
                write_atomic(path, ref.data, durable=False)
        return replace(ref, path=str(path), data=None)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn errors of writing into the cache into one message.

    Raises:
        EnvironmentProblem: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise EnvironmentProblem(
            f"the cache `{place}` can't be written",
            error.strerror or str(error),
            "free some space, or set EVALKIT_CACHE to a folder that can be written",
        ) from None


def _drawn(ref: MediaRef, draw: Callable[[Path], None]) -> MediaRef:
    """A medium whose file is drawn beside its place and moved there, unless it is there."""
    path = Path(str(ref.path))
    if not path.is_file():
        with writing(path.parent), atomic_path(path, durable=False) as place:
            draw(place)
    return replace(ref, drawn=None)


def _one_file(ref: MediaRef, folder: Path) -> MediaRef:
    """A folder of frames as a video file. A folder without frames, or with one that is no regular file, is
    left as it is and fails when it is read.
    """
    frames = Path(str(ref.path))
    with writing(folder):
        made = as_video(frames, ref.frame_rate or 1.0, folder)
    if made is None and frames.is_dir():
        made = odd_file(frame_files(frames))
    return replace(ref, path=str(made or ref.path), frame_rate=None)
