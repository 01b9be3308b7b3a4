"""torchcodec: PyTorch's decoder; needs FFmpeg's shared libraries on the system."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.data.video import VideoInfo
from evalkit.data.video.errors import damaged, missing

_CHUNK = 16


class Reader:
    """Reads by index, a few frames at a time, with exact seeking."""

    def probe(self, path: str) -> VideoInfo:
        """See :class:`evalkit.data.video.VideoReader`."""
        decoder = _open(path)
        count = len(decoder)
        if count == 0:
            raise damaged(path, "it has no frames")
        try:
            frames = [decoder.get_frame_at(0)]
            times = [decoder.get_frame_at(number).pts_seconds for number in range(count)]
        except (RuntimeError, IndexError) as error:
            raise damaged(path, str(error).splitlines()[0]) from None
        _, height, width = frames[0].data.shape
        return VideoInfo(tuple(time - times[0] for time in times), width, height)

    def read(self, path: str, indices: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
        """See :class:`evalkit.data.video.VideoReader`."""
        decoder = _open(path)
        for begin in range(0, len(indices), _CHUNK):
            try:
                frames = decoder.get_frames_at(list(indices[begin : begin + _CHUNK])).data
            except (RuntimeError, IndexError) as error:
                raise damaged(path, str(error).splitlines()[0]) from None
            yield from frames.permute(0, 2, 3, 1).numpy()


def _open(path: str) -> Any:
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError) as error:
        raise missing("torchcodec", str(error)) from None
    try:
        return VideoDecoder(path, seek_mode="exact", num_ffmpeg_threads=1)
    except (RuntimeError, ValueError) as error:
        raise damaged(path, str(error).splitlines()[0]) from None
