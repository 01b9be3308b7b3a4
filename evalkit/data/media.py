"""Media by content: what makes two references the same picture or film."""

from __future__ import annotations

import hashlib
import os

from evalkit.errors import MediaError
from evalkit.types import MediaRef

# Files up to this size are hashed whole; larger ones (films) by size and evenly spaced blocks, so that
# resuming a run over terabytes of video doesn't read them all again.
WHOLE_BYTES = 8 << 20
BLOCK_BYTES = 64 << 10
BLOCKS = 16


def media_digest(ref: MediaRef) -> str:
    """A content hash: ``sha256:...`` of all bytes, or ``sampled:...`` of a file over 8 MiB.

    Raises:
        MediaError: the file can't be read.
    """
    if ref.data is not None:
        return f"sha256:{hashlib.sha256(ref.data).hexdigest()}"
    path = str(ref.path)
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            if size <= WHOLE_BYTES:
                return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            sampled = hashlib.sha256(str(size).encode())
            for number in range(BLOCKS):
                file.seek((size - BLOCK_BYTES) * number // (BLOCKS - 1))
                sampled.update(file.read(BLOCK_BYTES))
            return f"sampled:{sampled.hexdigest()}"
    except OSError as error:
        raise unreadable(ref, str(error.strerror)) from None


def unreadable(ref: MediaRef, why: str) -> MediaError:
    """The error for a medium that can't be shown to a model."""
    file = f"`{ref.path}`" if ref.path else f"of {len(ref.data or b'')} embedded bytes"
    where = f"of {ref.source}" if ref.source else file
    return MediaError(
        f"{ref.kind} {where} can't be used",
        why,
        "replace the file (or fetch it again) and repeat the command",
    )
