"""torchcodec: PyTorch's decoder; needs FFmpeg's shared libraries on the system."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.data.formats import plain_file_path
from evalkit.data.video.errors import check_places, damaged, missing
from evalkit.data.video.probe import VideoInfo

_CHUNK = 16


class Reader:
    """Reads forward, a few frames at a time.

    Raises:
        EnvironmentProblem: torchcodec, or FFmpeg's libraries, can't be loaded.
    """

    def __init__(self) -> None:
        try:
            from torchcodec.decoders import VideoDecoder
        except (ImportError, OSError, RuntimeError) as error:
            raise missing("torchcodec", str(error)) from None
        self._decoder = VideoDecoder
        _check_ffmpeg(VideoDecoder)

    def read(self, path: str, known: VideoInfo, indices: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
        """See :class:`evalkit.data.video.VideoReader`."""
        decoder = self._open(path)
        check_places(path, "torchcodec", len(decoder), known.container, len(known.timestamps))
        pending, length = deque(indices), indices[-1] + 1
        # Every frame up to the last one wanted: where torchcodec skips, it seeks, and past a keyframe some
        # streams then decode to other pictures (open GOPs, intra refresh), without a word.
        for begin in range(0, length, _CHUNK):
            end = min(begin + _CHUNK, length)
            try:
                frames = decoder.get_frames_in_range(begin, end).data
            except (RuntimeError, IndexError) as error:
                raise damaged(path, str(error).splitlines()[0]) from None
            while pending and pending[0] < end:
                yield frames[pending.popleft() - begin].permute(1, 2, 0).numpy()

    def _open(self, path: str) -> Any:
        try:
            return self._decoder(plain_file_path(path), seek_mode="exact", num_ffmpeg_threads=1)
        except (RuntimeError, ValueError) as error:
            raise damaged(path, str(error).splitlines()[0]) from None


def _check_ffmpeg(decoder: Any) -> None:
    """Make sure that FFmpeg's libraries are there: some versions look for them only when a file is opened."""
    try:
        decoder(b"no video")
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        if "libtorchcodec" in reason:
            raise missing("torchcodec", reason) from None
