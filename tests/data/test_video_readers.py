"""The three readers on real files: the same frames, and one clear message for what can't be read."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from evalkit.core.errors import EnvironmentProblem, MediaError, UsageError
from evalkit.data.sampling import FrameRule, sample_frames
from evalkit.data.video import VideoReader, open_reader, probe

# Constant and varying rates, several codecs and containers, rotation, no duration, two streams.
FILES = (
    "askanything_yoga.mp4",
    "univtg_charades.mp4",
    "torchcodec_nasa_13013.mp4",
    "decord_video_rot90.mov",
    "decord_video_rot180.mov",
    "decord_unordered.mov",
    "mmaction2_test.avi",
    "moviepy_transparent.webm",
    "moviepy_big_buck_bunny_432_433.webm",
    "derived/bikes_vfr.mp4",
    "derived/bikes_vp9.webm",
    "derived/bikes_mpeg4.avi",
)
RULE = FrameRule(max_frames=16)


def other_reader(backend: str) -> VideoReader:
    """A reader that isn't always there: torchcodec needs FFmpeg's libraries on the system."""
    try:
        return open_reader(backend)
    except EnvironmentProblem as error:
        pytest.skip(f"{error.what}: {error.why}")


@pytest.mark.parametrize("backend", ["decord", "torchcodec"])
@pytest.mark.parametrize("name", FILES)
def test_backends_show_the_same_frames(shared: Path, name: str, backend: str) -> None:
    path = str(shared / "media/videos" / name)
    first, second = open_reader("pyav"), other_reader(backend)
    known = probe(path)
    if backend == "torchcodec" and not known.stamped:
        pytest.skip("torchcodec goes by times, which this AVI doesn't have")
    indices = sample_frames(known.timestamps, RULE).indices
    for mine, other in zip(first.read(path, known, indices), second.read(path, known, indices), strict=True):
        assert mine.shape == other.shape == (known.height, known.width, 3)
        # The same picture; conversion from YUV may round differently.
        assert np.abs(mine.astype(int) - other.astype(int)).mean() < 2.0


def clip(path: Path, codec: str, pixels: str, frames: np.ndarray, **options: str) -> str:
    """Frames ``[n, height, width, 3]`` as a film of 10 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return str(path)


@pytest.mark.parametrize("backend", ["pyav", "decord", "torchcodec"])
@pytest.mark.parametrize(("name", "codec", "pixels"), [("a.mov", "png", "rgb24"), ("a.mkv", "ffv1", "bgr0")])
def test_of_a_film_without_loss_every_backend_gives_the_very_frames(
    tmp_path: Path, name: str, codec: str, pixels: str, backend: str
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), np.uint8)
    path = clip(tmp_path / name, codec, pixels, frames)
    known, indices = probe(path), [0, 3, 3, 7, 11]
    assert len(known.timestamps) == len(frames)
    assert np.array_equal(np.stack(list(other_reader(backend).read(path, known, indices))), frames[indices])


@pytest.mark.parametrize("backend", ["pyav", "decord", "torchcodec"])
def test_of_a_film_with_frames_out_of_order_every_backend_gives_the_frame_asked_for(
    tmp_path: Path, backend: str
) -> None:
    """H.264 stores B-frames after those that they refer to; each frame here is grey of its own."""
    grey = np.arange(20, 240, 4, dtype=np.uint8)
    frames = np.broadcast_to(grey[:, None, None, None], (len(grey), 64, 64, 3)).copy()
    path = clip(tmp_path / "a.mp4", "libx264", "yuv420p", frames, bf="3", g="12", crf="1")
    known, indices = probe(path), [0, 1, 13, 13, 30, 54]
    shown = [frame.mean() for frame in other_reader(backend).read(path, known, indices)]
    assert np.abs(shown - grey[indices].astype(float)).max() < 2


@pytest.mark.parametrize(
    "name", ["torchcodec_av1_video.mkv", "torchcodec_h264_10bits.mp4", "moviepy_no_duration.webm"]
)
def test_pyav_reads_what_others_can_not(shared: Path, name: str) -> None:
    path = str(shared / "media/videos" / name)
    known = probe(path)
    indices = sample_frames(known.timestamps, RULE).indices
    assert len(list(open_reader().read(path, known, indices))) == len(indices)


def test_any_subset_of_frames_is_the_same_as_in_one_pass(shared: Path) -> None:
    path = str(shared / "media/videos/askanything_yoga.mp4")
    reader, known = open_reader(), probe(path)
    everything = list(reader.read(path, known, range(len(known.timestamps))))
    for indices in ([0], [299], [100, 101, 101, 250]):
        for index, frame in zip(indices, reader.read(path, known, indices), strict=True):
            assert np.array_equal(frame, everything[index])


@pytest.mark.parametrize(
    "name", ["derived/empty.mp4", "derived/random_bytes.mp4", "derived/yoga_truncated_raw.mp4", "nowhere.mp4"]
)
def test_a_file_that_is_no_video_is_one_clear_error(shared: Path, name: str) -> None:
    with pytest.raises(MediaError) as caught:
        probe(str(shared / "media/videos" / name))
    assert name in caught.value.what
    assert caught.value.why
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "promise"),
    [("derived/yoga_faststart_truncated.mp4", "300 frames"), ("derived/bbb_truncated.webm", "30.0 seconds")],
)
def test_a_film_that_was_cut_short_is_not_taken_for_a_shorter_one(
    shared: Path, name: str, promise: str
) -> None:
    with pytest.raises(MediaError, match=promise):
        probe(str(shared / "media/videos" / name))


def test_one_bad_packet_costs_no_other_frame(shared: Path) -> None:
    path = str(shared / "media/videos/decord_corrupted.mp4")
    known = probe(path)
    indices = sample_frames(known.timestamps, RULE).indices
    assert len(list(open_reader().read(path, known, indices))) == len(indices)


def test_an_unknown_backend_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean `decord`"):
        open_reader("decrod")


def test_a_missing_backend_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "decord", None)
    with pytest.raises(EnvironmentProblem, match=r"evalkit\[decord\]"):
        open_reader("decord")
