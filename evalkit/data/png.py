"""Strips comments and colour profiles, which may be larger than Pillow allows, from PNG files."""

from __future__ import annotations

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Text chunks and the colour profile; no pixel depends on them here, since profiles aren't applied.
_UNSEEN = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def strip_metadata(data: bytes) -> bytes:
    """A PNG file without its comments and its colour profile; anything else as it is.

    Pillow refuses a comment of more than a megabyte, unpacked, as a decompression bomb; programs that
    generate or annotate images put theirs there.
    """
    if not data.startswith(SIGNATURE):
        return data
    kept, at = [SIGNATURE], len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        if kind not in _UNSEEN:
            kept.append(data[at:end])
        at = end
        if kind == b"IEND":
            break
    return b"".join(kept)
