"""decord: an older decoder, kept to reproduce older numbers; its last release is from 2021."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.data.formats import plain_file_path
from evalkit.data.video.errors import check_places, damaged, missing
from evalkit.data.video.probe import VideoInfo


class Reader:
    """Reads forward, frame by frame.

    Raises:
        EnvironmentProblem: decord can't be loaded.
    """

    def __init__(self) -> None:
        try:
            import decord
        except (ImportError, OSError) as error:
            raise missing("decord", str(error)) from None
        self._decord = decord

    def read(self, path: str, known: VideoInfo, indices: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
        """See :class:`evalkit.data.video.VideoReader`."""
        reader = self._open(path)
        check_places(path, "decord", len(reader), known.container, len(known.timestamps))
        pending = deque(indices)
        # Not `get_batch` or `skip_frames`: past a keyframe they may give other pictures (open GOPs, intra
        # refresh), without a word.
        for number in range(indices[-1] + 1):
            frame = self._next(path, reader)
            while pending and pending[0] == number:
                pending.popleft()
                yield frame.asnumpy()

    def _open(self, path: str) -> Any:
        decord = self._decord
        try:
            return decord.VideoReader(plain_file_path(path), ctx=decord.cpu(0), num_threads=1)
        except (decord.DECORDError, RuntimeError) as error:
            raise damaged(path, _reason(error)) from None

    def _next(self, path: str, reader: Any) -> Any:
        try:
            return reader.next()
        except (self._decord.DECORDError, RuntimeError, StopIteration) as error:
            raise damaged(path, _reason(error)) from None


def _reason(error: Exception) -> str:
    """The first line of decord's message, without the clock and the source line before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split(": ", 1)[-1]
