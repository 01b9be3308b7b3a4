"""Timestamps of the frames that will be sampled from a video, from its header alone: for planning only.

The length of a prompt with subtitles depends on them. Counting the frames of 900 videos would mean reading
100 GB; the header says how many there are, and their rate.
"""

from __future__ import annotations

from functools import lru_cache

from evalkit.data.formats import open_video
from evalkit.data.sampling import FrameRule, sample_frames

# Without a limit, a header that lies would fill the memory: 24 hours at 60 frames a second.
_MOST_FRAMES = 24 * 3600 * 60


@lru_cache(maxsize=1)  # a video's questions follow one another
def sampled_times(
    path: str, rule: FrameRule | None = None, start: float | None = None, end: float | None = None
) -> tuple[float, ...]:
    """Seconds of the frames that are sampled from a video file, or from its clip from ``start`` to ``end``;
    empty where it can't be read (the sample then fails by itself, when its video is decoded).

    They are those of :func:`evalkit.data.sampling.sample_frames` at the header's average frame
    rate: exact for a constant rate, and off by less than a subtitle lasts for others.
    """
    import av

    try:
        with open_video(path) as container:
            stream = container.streams.best("video")
            if stream is None or not stream.average_rate:
                return ()
            rate = float(stream.average_rate)
            seconds = container.duration / av.time_base if container.duration else 0.0
            if stream.duration and stream.time_base:
                seconds = float(stream.duration * stream.time_base)
            frames = min(stream.frames or round(seconds * rate), _MOST_FRAMES)
    except (av.FFmpegError, OSError):
        return ()
    if frames < 1:
        return ()
    try:
        times = [number / rate for number in range(frames)]
        return sample_frames(times, rule or FrameRule(), start, end).timestamps
    except ValueError:  # a clip without frames
        return ()
