"""torchcodec: PyTorch's decoder; needs FFmpeg's shared libraries on the system."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.data.video.errors import damaged, missing
from evalkit.data.video.probe import VideoInfo, check_count

_CHUNK = 16


class Reader:
    """Reads by index, a few frames at a time, with exact seeking."""

    def read(self, path: str, known: VideoInfo, indices: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
        """See :class:`evalkit.data.video.VideoReader`."""
        decoder = _open(path)
        check_count(path, "torchcodec", len(decoder), known)
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
        reason = str(error).splitlines()[0]
        # FFmpeg's libraries are looked for only now, not on import.
        raise missing("torchcodec", reason) if "libtorchcodec" in reason else damaged(path, reason) from None
