"""Content hashes that serve as ids."""

from __future__ import annotations

import hashlib


def content_digest(*values: str | bytes | None) -> str:
    """A short hash of texts and bytes, the same on every machine.

    >>> content_digest("a", b"b") == content_digest("a", b"b") != content_digest("ab", b"")
    True
    """
    total = hashlib.sha256()
    for value in values:
        data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]
