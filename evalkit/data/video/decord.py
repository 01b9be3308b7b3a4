"""decord: fast random access; its last release is from 2021."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.data.video.errors import damaged, missing
from evalkit.data.video.probe import VideoInfo, check_count

_CHUNK = 16


class Reader:
    """Reads by index, a few frames at a time."""

    def read(self, path: str, known: VideoInfo, indices: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
        """See :class:`evalkit.data.video.VideoReader`."""
        reader = _open(path)
        check_count(path, "decord", len(reader), known)
        for begin in range(0, len(indices), _CHUNK):
            yield from _batch(path, reader, indices[begin : begin + _CHUNK])


def _batch(path: str, reader: Any, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
    from decord import DECORDError

    try:
        frames: npt.NDArray[np.uint8] = reader.get_batch(list(indices)).asnumpy()
    except (DECORDError, RuntimeError, IndexError) as error:
        raise damaged(path, _reason(error)) from None
    return frames


def _open(path: str) -> Any:
    try:
        import decord
    except (ImportError, OSError) as error:
        raise missing("decord", str(error)) from None
    try:
        return decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    except (decord.DECORDError, RuntimeError) as error:
        raise damaged(path, _reason(error)) from None


def _reason(error: Exception) -> str:
    """The first line of decord's message, without the clock and the source line before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split(": ", 1)[-1]
