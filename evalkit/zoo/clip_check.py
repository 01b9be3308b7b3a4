"""Encodes a small clip and reads it again: whether video works on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path


def decoded_frames() -> int:
    """How many frames of a clip come back, drawn and encoded here.

    Raises:
        Exception: whatever a broken installation of PyAV raises.
    """
    import av

    from evalkit.zoo.minisuite import encode_clip
    from evalkit.zoo.scenes import clip, generator

    scene = clip(generator("doctor", 0))
    with tempfile.TemporaryDirectory(prefix="evalkit-") as folder:
        path = Path(folder) / "clip.mp4"
        encode_clip(scene.token_grid, path)
        with av.open(str(path)) as opened:
            return sum(1 for _ in opened.decode(video=0))
