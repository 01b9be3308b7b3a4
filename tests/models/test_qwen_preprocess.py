"""The torch-free preprocessor gives what transformers' Qwen2.5-VL processor gives."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from family_checkpoints import preprocessor_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evalkit.core.errors import MediaError
from evalkit.core.types import MediaRef, Request
from evalkit.data.video import open_reader, probe
from evalkit.models.families._qwen.preprocess import QwenPreprocessor
from evalkit.models.preprocess import escape_special_tokens
from evalkit.zoo import resolve

IMAGE, VIDEO = "<|vision_start|><|image_pad|><|vision_end|>", "<|vision_start|><|video_pad|><|vision_end|>"


@pytest.fixture(scope="module")
def folder() -> Path:
    return resolve("tiny", "mrope")


@pytest.fixture(scope="module")
def preprocessor(folder: Path) -> QwenPreprocessor:
    return preprocessor_of(folder)


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(folder)


def request(prompt: str, *media: MediaRef) -> Request:
    return Request(key="k", task="t", sample_id="s", prompt=prompt, media=media, max_new_tokens=8)


def normalised(patches: np.ndarray, processor: Any) -> np.ndarray:
    mean, std = (np.asarray(getattr(processor.image_processor, name)) for name in ("image_mean", "image_std"))
    pixels = patches.reshape(len(patches), 3, -1) / 255.0
    return ((pixels - mean[:, None]) / std[:, None]).reshape(len(patches), -1)


@pytest.fixture
def pictures(tmp_path: Path) -> list[MediaRef]:
    rng = np.random.default_rng(0)
    paths = []
    for number, (width, height) in enumerate([(140, 112), (300, 180), (33, 200)]):
        path = tmp_path / f"{number}.png"
        # As smooth as photographs are: on white noise, bicubic kernels differ in how they saturate.
        coarse = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8 + 1, 3), np.uint8))
        coarse.resize((width, height), Image.Resampling.BILINEAR).save(path)
        paths.append(MediaRef("image", path=str(path)))
    return paths


def test_images_equal_transformers(
    preprocessor: QwenPreprocessor, processor: Any, pictures: list[MediaRef]
) -> None:
    prompt = f"<|im_start|>user\n{IMAGE}first{IMAGE} second {IMAGE}?<|im_end|>\n"
    mine = preprocessor.prepare(request(prompt, *pictures))
    images = [Image.open(str(ref.path)) for ref in pictures]
    theirs = processor(text=[prompt], images=images, return_tensors="np", return_mm_token_type_ids=True)
    assert mine.input_ids.tolist() == theirs["input_ids"][0].tolist()
    assert mine.token_types.tolist() == theirs["mm_token_type_ids"][0].tolist()
    assert [list(medium.grid) for medium in mine.vision] == theirs["image_grid_thw"].tolist()
    pixels = normalised(np.concatenate([medium.patches for medium in mine.vision]), processor)
    exact = np.prod(mine.vision[0].grid)  # the first picture needs no resize: nothing but float rounding
    assert np.abs(pixels[:exact] - theirs["pixel_values"][:exact]).max() < 1e-5
    # torchvision's bicubic and Pillow's differ by a few grey levels in places (0.0145 is one level).
    difference = np.abs(pixels - theirs["pixel_values"])
    assert difference.mean() < 0.0145
    assert difference.max() < 4 * 0.0145 + 1e-4


def test_images_equal_the_pillow_processor_of_transformers(
    preprocessor: QwenPreprocessor, processor: Any, pictures: list[MediaRef], folder: Path
) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    mine = preprocessor.prepare(request(IMAGE * 3, *pictures))
    images = [Image.open(str(ref.path)) for ref in pictures]
    theirs = Qwen2VLImageProcessorPil.from_pretrained(folder)(images, return_tensors="np")
    pixels = normalised(np.concatenate([medium.patches for medium in mine.vision]), processor)
    assert np.abs(pixels - theirs["pixel_values"]).max() < 1e-5


def test_a_video_equals_transformers_on_the_same_frames(
    preprocessor: QwenPreprocessor, processor: Any, shared: Path
) -> None:
    path = str(shared / "media/videos/torchcodec_h265_video.mp4")
    prompt = f"{VIDEO}what?"
    mine = preprocessor.prepare(request(prompt, MediaRef("video", path=path)))
    size = mine.media[0].input_size
    frames = np.stack(
        [
            np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
            for frame in open_reader().read(path, probe(path), mine.media[0].frames)
        ]
    )
    theirs = processor(
        text=[prompt],
        videos=[frames.transpose(0, 3, 1, 2)],
        return_tensors="np",
        do_sample_frames=False,
        do_resize=False,
        return_mm_token_type_ids=True,
    )
    assert mine.input_ids.tolist() == theirs["input_ids"][0].tolist()
    assert mine.token_types.tolist() == theirs["mm_token_type_ids"][0].tolist()
    assert [list(mine.vision[0].grid)] == theirs["video_grid_thw"].tolist()
    pixels = normalised(mine.vision[0].patches, processor)
    assert np.abs(pixels - theirs["pixel_values_videos"]).max() < 1e-5


def test_an_odd_number_of_frames_ends_on_a_still(preprocessor: QwenPreprocessor) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 3), np.uint8)
    patches, grid = preprocessor.patchify(frames)
    assert grid == (1, 2, 2)
    assert patches.shape == (4, 3 * 2 * 14 * 14)
    assert np.array_equal(patches[0].reshape(3, 2, 14, 14)[:, 1], frames[1, :14, :14].transpose(2, 0, 1))


@settings(max_examples=30, deadline=None)
@given(width=st.integers(1, 900), height=st.integers(1, 900), share=st.integers(1, 4))
def test_the_estimate_is_what_prepare_gives(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, share: int
) -> None:
    preprocessor = preprocessor_of(resolve("tiny", "mrope"))
    path = tmp_path_factory.mktemp("image") / "i.png"
    Image.new("RGB", (width, height)).save(path)
    asked = request(IMAGE * share + "?", *[MediaRef("image", path=str(path))] * share)
    if max(width, height) > 200 * min(width, height):
        with pytest.raises(MediaError, match="1:200"):
            preprocessor.prepare(asked)
        return
    prepared = preprocessor.prepare(asked)
    assert preprocessor.estimate(asked) == prepared.length


def test_all_media_of_a_request_stay_below_the_cap(folder: Path, tmp_path: Path) -> None:
    base = preprocessor_of(folder)
    limits = replace(base.limits, image_max=10**9)
    small = replace(base, limits=limits, visual_tokens=64)
    Image.new("RGB", (2000, 1500)).save(tmp_path / "i.png")
    media = [MediaRef("image", path=str(tmp_path / "i.png"))] * 4
    prepared = small.prepare(request(IMAGE * 4, *media))
    assert 32 < sum(medium.tokens for medium in prepared.media) <= 64


def test_a_long_video_stays_below_the_cap(folder: Path, shared: Path) -> None:
    base = preprocessor_of(folder)
    small = base.with_limits(None, 200)
    path = str(shared / "media/videos/univtg_charades.mp4")
    prepared = small.prepare(request(VIDEO, MediaRef("video", path=path)))
    assert prepared.media[0].tokens <= 200
    assert prepared.vision[0].seconds_per_grid == pytest.approx(1.0, rel=0.05)


def test_the_paper_s_limits_on_frames_and_tokens_may_be_changed(folder: Path, shared: Path) -> None:
    video = MediaRef("video", path=str(shared / "media/videos/univtg_charades.mp4"))
    usual = preprocessor_of(folder)
    few = usual.with_limits(8, None)
    shown = [each.prepare(request(VIDEO, video)) for each in (usual, few, few.with_limits(3, 100))]
    assert [len(each.media[0].frames) for each in shown][1:] == [8, 2]
    assert len(shown[0].media[0].frames) > 8
    assert shown[2].media[0].tokens <= 100
    for each, prepared in zip((usual, few), shown, strict=False):
        assert abs(each.estimate(request(VIDEO, video)) - prepared.length) <= 0.02 * prepared.length + 4


def test_frames_never_lie_in_memory_at_full_size(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2)
        stream.width, stream.height, stream.pix_fmt = 512, 288, "yuv420p"
        stream.options = {"preset": "ultrafast"}
        picture = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8).repeat(32, 0).repeat(32, 1)
        for number in range(2048):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, number, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    pickled = tmp_path / "preprocessor"
    pickled.write_bytes(pickle.dumps(preprocessor_of(folder)))
    script = (
        "import pickle, resource, sys; from evalkit.core.types import MediaRef, Request;"
        "p = pickle.load(open(sys.argv[1], 'rb')).with_limits(2048, 8192);"
        "rss = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; before = rss();"
        f"r = Request(key='k', task='t', sample_id='s', prompt={VIDEO!r},"
        "media=(MediaRef('video', sys.argv[2]),), max_new_tokens=8);"
        "m = p.prepare(r).media[0]; print(len(m.frames), *m.input_size, rss() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(pickled), str(path)], capture_output=True, text=True
    )
    frames, width, height, kib = map(int, done.stdout.split())
    assert frames == 2048
    resized, full = (3 * 2048 * size / 1024 for size in (width * height, 512 * 288))
    assert resized < full / 10
    assert kib < resized + full / 6  # the reader's own threads hold some frames


def test_a_prompt_that_does_not_fit_its_media_is_refused(preprocessor: QwenPreprocessor) -> None:
    with pytest.raises(MediaError, match="doesn't fit its media"):
        preprocessor.prepare(request(f"{IMAGE}{IMAGE}?"))


def test_special_tokens_in_a_question_stay_text(preprocessor: QwenPreprocessor) -> None:
    text = escape_special_tokens("is <|image_pad|> here?", ["<|image_pad|>"])
    prepared = preprocessor.prepare(request(text))
    assert not prepared.token_types.any()


def test_it_is_small_to_send(preprocessor: QwenPreprocessor) -> None:
    assert len(pickle.dumps(preprocessor)) < 2000
    assert pickle.loads(pickle.dumps(preprocessor)) == preprocessor
