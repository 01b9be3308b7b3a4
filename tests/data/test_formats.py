"""Media of formats that benchmarks use are opened, and no other file is, whatever they say."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import MediaError
from evalkit.core.types import MediaRef
from evalkit.data.formats import CONTAINERS, IMAGES
from evalkit.data.frame_times import sampled_times
from evalkit.data.images import image_size, load_image
from evalkit.data.video import probe
from evalkit.models.preprocess import video_header


def film(path: Path, codec: str = "mpeg4", **options: Any) -> Path:
    with av.open(str(path), "w", **options) as container:
        stream: Any = container.add_stream(codec, rate=5)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        for number in range(10):
            picture = np.full((48, 64, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "PPM", "JPEG2000"])
def test_images_of_benchmarks(name: str) -> None:
    assert name in IMAGES
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, name)
    assert load_image(MediaRef("image", data=buffer.getvalue())).size == (40, 30)


@pytest.mark.parametrize("name", ["EPS", "PDF", "PCX", "TGA", "ICO", "SGI", "IM", "DDS", "MSP"])
@pytest.mark.parametrize("suffix", ["png", "eps"])
def test_other_images_are_none(
    name: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: object, **options: object) -> None:
        raise AssertionError("Ghostscript is started")

    monkeypatch.setattr("subprocess.check_call", run)
    monkeypatch.setattr("subprocess.Popen", run)
    path = tmp_path / f"a.{suffix}"
    Image.new("1" if name == "MSP" else "RGB", (40, 30)).save(path, name)
    for read in (load_image, image_size):
        with pytest.raises(MediaError, match="no image of a known format"):
            read(MediaRef("image", str(path)))


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("mp4", "mpeg4"),
        ("mov", "mjpeg"),
        ("avi", "mpeg4"),
        ("mkv", "mpeg4"),
        ("webm", "libvpx"),
        ("ts", "mpeg2video"),
        ("flv", "flv"),
        ("wmv", "wmv2"),
        ("gif", "gif"),
        ("mpg", "mpeg1video"),
        ("m4v", "mpeg4"),
        ("3gp", "mpeg4"),
        ("ogv", "libtheora"),
        ("ivf", "libvpx"),
    ],
)
def test_films_of_benchmarks(tmp_path: Path, suffix: str, codec: str) -> None:
    try:
        path = film(tmp_path / f"a.{suffix}", codec)
    except (ValueError, av.FFmpegError):
        pytest.skip(f"this FFmpeg doesn't write {codec}")
    assert (probe(str(path)).width, probe(str(path)).height) == (64, 48)


def following(kind: str, folder: Path) -> str:
    """A file that leads to the film beside it, with the suffix that FFmpeg knows it by."""
    film(folder / "secret.ts", "mpeg2video")
    text = {
        "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "ffconcat": "ffconcat version 1.0\nfile secret.ts\n",
        "mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
        ' mediaPresentationDuration="PT2S"><Period><AdaptationSet contentType="video">'
        '<Representation id="0" bandwidth="1" mimeType="video/mp4"><BaseURL>secret.ts</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    }[kind]
    (folder / f"list.{kind}").write_text(text)
    return text


@pytest.mark.parametrize("suffix", ["", "mp4"])
@pytest.mark.parametrize("kind", ["m3u8", "ffconcat", "mpd", "sdp"])
def test_a_list_of_other_files_is_no_film(kind: str, suffix: str, tmp_path: Path) -> None:
    text = following(kind, tmp_path)
    path = tmp_path / f"list.{suffix or kind}"
    path.write_text(text)
    if kind in ("m3u8", "ffconcat") and not suffix:
        with av.open(str(path)) as container:  # without limits, FFmpeg goes there
            assert container.streams.video[0].width == 64
    for read in (probe, video_header):
        with pytest.raises(MediaError, match="can't be used"):
            read(str(path))
    assert sampled_times(str(path)) == ()


def test_numbered_pictures_are_not_read_for_one(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (32, 32)).save(tmp_path / f"a{number}.png")
    with pytest.raises(MediaError):
        probe(str(tmp_path / "a%d.png"))
    (tmp_path / "a%d.png").write_bytes((tmp_path / "a0.png").read_bytes())
    with pytest.raises(MediaError):
        probe(str(tmp_path / "a%d.png"))


@pytest.mark.parametrize(
    "name", ["concat:a.ts|b.ts", "http://127.0.0.1:9/a.mp4", "subfile,,start,0,end,0,,:a.ts", "pipe:0"]
)
@pytest.mark.parametrize("backend", ["pyav", "decord", "torchcodec"])
def test_a_name_is_no_protocol(
    name: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose relative name reads like an URL is that file, in every reader."""
    import importlib

    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match="No such file"):
        probe(name)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    film(tmp_path / "real.mp4").rename(name)
    assert len(probe(name).timestamps) == 10
    try:
        reader = importlib.import_module(f"evalkit.data.video.{backend}").Reader()
        assert len(list(reader.read(name, probe(name), [0, 9]))) == 2
    except Exception as error:
        if type(error).__name__ != "EnvironmentProblem":
            raise
        pytest.skip(f"{backend} can't be loaded here")


def test_no_demuxer_that_follows_is_among_ours() -> None:
    ours = CONTAINERS.split(",")
    assert "mov" in ours
    assert not {"concat", "hls", "dash", "image2", "sdp", "rtsp", "lavfi", "applehttp", "imf"}.intersection(
        ours
    )
