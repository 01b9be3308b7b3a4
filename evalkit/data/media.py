"""Media by content: what makes two references the same picture or film."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from evalkit.data.file_hash import KEPT_BYTES, file_hash, file_hashes
from evalkit.errors import MediaError
from evalkit.types import MediaRef


def media_digest(ref: MediaRef) -> str:
    """A content hash, ``sha256:...`` of all bytes.

    Raises:
        MediaError: the file can't be read.
    """
    if ref.data is not None:
        return f"sha256:{hashlib.sha256(ref.data).hexdigest()}"
    try:
        return f"sha256:{file_hash(str(ref.path))}"
    except OSError as error:
        raise unreadable(ref, str(error.strerror)) from None
    except ValueError as error:  # a name that no file can have
        raise unreadable(ref, str(error)) from None


def hash_films(media: Iterable[MediaRef]) -> None:
    """Hash large files ahead and together, with progress; their digests are at hand afterwards. One that
    can't be read is left to the sample that needs it.
    """
    paths = dict.fromkeys(Path(ref.path) for ref in media if ref.path is not None)
    large = [path for path in paths if _size(path) >= KEPT_BYTES]
    try:
        file_hashes(large)
    except (OSError, ValueError):
        return


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except (OSError, ValueError):
        return 0


def unreadable(ref: MediaRef, why: str) -> MediaError:
    """The error for a medium that can't be shown to a model."""
    file = f"`{ref.path}`" if ref.path else f"of {len(ref.data or b'')} embedded bytes"
    where = f"of {ref.source}" if ref.source else file
    return MediaError(
        f"{ref.kind} {where} can't be used",
        why,
        "replace the file (or fetch it again) and repeat the command",
    )
