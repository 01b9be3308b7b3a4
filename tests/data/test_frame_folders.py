import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import MediaError
from evalkit.data.cache import MediaCache
from evalkit.data.frame_folders import as_video, frame_files
from evalkit.data.media import media_digest
from evalkit.data.video import open_reader, probe
from evalkit.task import video


def write_frames(folder, count=7, size=(64, 48), suffix="jpg"):
    """Smooth pictures, each of another grey: JPEG keeps them but for rounding."""
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        Image.new("RGB", size, (30 * number, 30 * number, 30 * number)).save(
            folder / f"{number:05d}.{suffix}"
        )
    return folder


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_every_frame_is_there_at_its_time(tmp_path, suffix, backend):
    folder = write_frames(tmp_path / "clip", suffix=suffix)
    path = str(as_video(folder, 3.0, tmp_path / "cache"))
    known = probe(path)
    assert known.timestamps == pytest.approx([n / 3 for n in range(7)])
    assert (known.width, known.height) == (64, 48)
    shown = list(open_reader(backend).read(path, known, range(7)))
    assert [int(np.median(frame)) for frame in shown] == pytest.approx([30 * n for n in range(1, 8)], abs=2)


def test_pictures_are_not_encoded_anew(tmp_path):
    folder = write_frames(tmp_path / "clip", count=2)
    content = as_video(folder, 3.0, tmp_path / "cache").read_bytes()
    assert all((folder / f"{n:05d}.jpg").read_bytes() in content for n in (1, 2))


def test_the_same_frames_give_the_same_file_and_others_another(tmp_path):
    folder = write_frames(tmp_path / "clip")
    first = as_video(folder, 3.0, tmp_path / "one")
    assert as_video(folder, 3.0, tmp_path / "one") == first
    assert as_video(folder, 3.0, tmp_path / "two").read_bytes() == first.read_bytes()
    assert as_video(folder, 5.0, tmp_path / "one") != first
    (folder / "00007.jpg").unlink()
    assert as_video(folder, 3.0, tmp_path / "one") != first


def test_other_files_are_no_frames(tmp_path):
    folder = write_frames(tmp_path / "clip", count=3)
    for name in ("Thumbs.db", "cover.png", "notes.txt"):
        (folder / name).write_bytes(b"x")
    assert [path.name for path in frame_files(folder)] == ["00001.jpg", "00002.jpg", "00003.jpg"]


def test_the_cache_makes_a_file_of_a_chosen_clip(tmp_path):
    ref = video(str(write_frames(tmp_path / "clip")), 0.5, 1.5, frame_rate=3.0)
    made = MediaCache(tmp_path / "cache").to_file(ref)
    assert made == replace(ref, path=made.path, frame_rate=None)
    assert os.path.isfile(made.path)
    assert media_digest(made).startswith("sha256:")


@pytest.mark.parametrize("content", [None, {}, {"00001.jpg": b"no picture", "00002.jpg": b"x"}])
def test_a_folder_without_pictures_fails_as_one_sample(tmp_path, content):
    if content is not None:
        (tmp_path / "clip").mkdir()
        for name, data in content.items():
            (tmp_path / "clip" / name).write_bytes(data)
    made = MediaCache(tmp_path / "cache").to_file(video(str(tmp_path / "clip"), frame_rate=3.0))
    assert made.path == str(tmp_path / "clip")
    with pytest.raises(MediaError):
        media_digest(made)
    with pytest.raises(MediaError):
        probe(made.path)
    assert not [path for path in tmp_path.rglob("*.mp4")]
