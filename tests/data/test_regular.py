"""What is no regular file is an error of its sample, by name, and is never opened."""

from __future__ import annotations

import os
import socket
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from evalkit.core.errors import EnvironmentProblem, MediaError
from evalkit.core.types import MediaKind, MediaRef
from evalkit.data.archives import extracted, is_unpacked
from evalkit.data.cache import MediaCache
from evalkit.data.frame_times import sampled_times
from evalkit.data.images import embedded_size, image_size, load_image
from evalkit.data.media import media_digest
from evalkit.data.regular_files import open_regular, read_regular
from evalkit.data.tarballs import extracted_tar
from evalkit.data.video import probe
from evalkit.engine.executors.worker import DriverFiles
from evalkit.engine.media_scan import UNREADABLE, digest_files
from evalkit.models.preprocess import video_header
from evalkit.task import video

KINDS = ["FIFO", "folder", "socket", "device", "link to a FIFO"]


@pytest.fixture(autouse=True)
def nothing_is_opened() -> Iterator[None]:
    """Whoever opens a FIFO waits for its other end: the test would hang, and is told of instead."""
    timer = threading.Timer(60, lambda: os._exit(9))
    timer.daemon = True
    timer.start()
    yield
    timer.cancel()


@pytest.fixture(params=KINDS)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "medium.mp4"
    if request.param == "FIFO":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "link to a FIFO":
        os.mkfifo(tmp_path / "fifo")
        path.symlink_to(tmp_path / "fifo")
    else:
        with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as opened:
            opened.bind(f"{short}/s")  # a socket's path has room for 100 characters
            path.symlink_to(f"{short}/s")
            yield path
        return
    yield path


READERS: list[tuple[MediaKind, Callable[[MediaRef], object]]] = [
    ("image", load_image),
    ("image", image_size),
    ("image", media_digest),
    ("video", media_digest),
    ("video", lambda ref: probe(str(ref.path))),
    ("video", lambda ref: video_header(str(ref.path))),
]


@pytest.mark.parametrize(("kind", "read"), READERS)
def test_media(odd: Path, kind: MediaKind, read: Callable[[MediaRef], object]) -> None:
    with pytest.raises(MediaError, match=r"(?s)medium\.mp4.*no regular file"):
        read(MediaRef(kind, str(odd)))


def test_planning_goes_on(odd: Path) -> None:
    assert sampled_times(str(odd)) == ()
    assert digest_files([MediaRef("video", str(odd))], 0, 60) == {str(odd): UNREADABLE}
    assert DriverFiles().read(str(odd)) is None


def test_archives(odd: Path, tmp_path: Path) -> None:
    for read in (
        lambda: extracted(odd, tmp_path / "cache"),
        lambda: extracted_tar([odd], tmp_path / "cache"),
        lambda: is_unpacked(odd, tmp_path),
    ):
        with pytest.raises(EnvironmentProblem, match=r"(?s)medium\.mp4.*no regular file"):
            read()


def test_a_frame_that_is_a_fifo_is_named_and_no_frame_is_left_out(tmp_path: Path) -> None:
    frames = tmp_path / "clip"
    frames.mkdir()
    for number in (1, 2, 3):
        Image.new("RGB", (32, 32)).save(frames / f"{number}.jpg")
    os.mkfifo(frames / "4.jpg")
    made = MediaCache(tmp_path / "cache").to_file(video(str(frames), frame_rate=1.0))
    with pytest.raises(MediaError, match=r"(?s)4\.jpg.*no regular file"):
        probe(str(made.path))


def test_one_that_becomes_a_fifo_between_two_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "a")
    (tmp_path / "b").write_bytes(b"b")
    monkeypatch.setattr("evalkit.data.regular_files.check_regular", lambda path: None)
    with pytest.raises(OSError, match="no regular file"):
        open_regular(tmp_path / "a")
    assert read_regular(tmp_path / "b") == b"b"


def test_regular_files_are_read_as_ever(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4), "red").save(tmp_path / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "a.png")
    assert load_image(MediaRef("image", str(tmp_path / "link"))).getpixel((0, 0)) == (255, 0, 0)
    data = (tmp_path / "a.png").read_bytes()
    assert embedded_size({"bytes": data}) == [5, 4]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x", "x")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "a.png")
    assert (extracted(tmp_path / "a.zip", tmp_path / "cache") / "x").read_text() == "x"
    assert (extracted_tar([tmp_path / "a.tar"], tmp_path / "cache") / "a.png").read_bytes() == data
