"""Content hashes of media, and the errors of media that can't be read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from evalkit.core.errors import MediaError
from evalkit.core.types import MediaRef
from evalkit.data.file_hash import file_hash

MEDIA_SECONDS = 120.0
"""How long a medium may take to be read, unless told otherwise."""


def file_state(path: str | None) -> tuple[int, ...] | None:
    """What changes when a file does; None if there is none."""
    try:
        found = os.stat(path or "")
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def media_digest(ref: MediaRef) -> str:
    """A content hash, ``sha256:...`` of all bytes; it is not computed again while the file is as it was.

    Raises:
        MediaError: the file can't be read.
    """
    if ref.digest is not None and ref.digest.state is not None and ref.digest.state == file_state(ref.path):
        return ref.digest.text
    if ref.data is not None:
        return f"sha256:{hashlib.sha256(ref.data).hexdigest()}"
    try:
        return f"sha256:{file_hash(str(ref.path))}"
    except OSError as error:
        raise unreadable(ref, str(error.strerror)) from None
    except ValueError as error:  # a name that no file can have
        raise unreadable(ref, str(error)) from None


def late(media: Sequence[MediaRef], seconds: float) -> MediaError:
    """The error for media of a question that took more than so many seconds each."""
    reads = f"reading it took more than {seconds:g} seconds"
    if not media:
        return MediaError("a question without media can't be prepared", reads, "raise `--media-timeout`")
    error = unreadable(media[0], reads)
    what = error.what if len(media) == 1 else f"{error.what}, or one of the {len(media) - 1} media beside it"
    return MediaError(what, reads, "replace the file, see that its disk answers, or raise `--media-timeout`")


def unreadable(ref: MediaRef, why: str) -> MediaError:
    """The error for a medium that can't be shown to a model."""
    file = f"`{ref.path}`" if ref.path else f"of {len(ref.data or b'')} embedded bytes"
    where = f"of {ref.source}" if ref.source else file
    return MediaError(
        f"{ref.kind} {where} can't be used",
        why,
        "replace the file (or fetch it again) and repeat the command",
    )
