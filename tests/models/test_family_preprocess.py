"""The torch-free preprocessors of the other families give what transformers' processors give."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from family_checkpoints import CANVASES, preprocessor_of, save_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evalkit.core.types import MediaRef, Prepared, Request
from evalkit.data.images import resize
from evalkit.data.video import open_reader, probe
from evalkit.models.families.internvl.preprocess import InternVLPreprocessor
from evalkit.models.families.llava_onevision.layout import Anyres

FAMILIES = ("qwen2_vl", "qwen3_vl", "llava_onevision", "internvl")
ANYRES = Anyres(tuple((h, w) for h, w in CANVASES), 384, 27, 9)
LEVEL = 1 / 255


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_folder(tmp_path_factory.mktemp("checkpoints") / family, family)


@pytest.fixture(scope="module")
def preprocessor(family: str, folder: Path) -> Any:
    return preprocessor_of(folder)


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    return transformers.AutoProcessor.from_pretrained(folder)


def ask(prompt: str, *media: MediaRef) -> Request:
    return Request(key="k", task="t", sample_id="s", prompt=prompt, media=media, max_new_tokens=8)


def picture(folder: Path, width: int, height: int) -> MediaRef:
    """As smooth as photographs are: on white noise, bicubic kernels differ in how they saturate."""
    path = folder / f"{width}x{height}.png"
    rng = np.random.default_rng(width)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 40 + 2, width // 40 + 2, 3), np.uint8))
    coarse.resize((width, height), Image.Resampling.BILINEAR).save(path)
    return MediaRef("image", path=str(path))


def levels(prepared: Prepared, kind: str) -> np.ndarray:
    return np.concatenate([each.patches for each in prepared.vision if each.kind == kind]).astype(np.float64)


def in_levels(pixels: np.ndarray, processor: Any) -> np.ndarray:
    """Undo the normalisation: grey levels 0 to 255."""
    shape = (1, 3, *[1] * (pixels.ndim - 2))
    mean, std = (np.asarray(getattr(processor.image_processor, name)) for name in ("image_mean", "image_std"))
    return (pixels * std.reshape(shape) + mean.reshape(shape)) * 255


def theirs_in_levels(found: Any, family: str, processor: Any, key: str = "pixel_values") -> np.ndarray:
    values = np.asarray(found[key], np.float64)
    if family.startswith("qwen"):
        return in_levels(values.reshape(len(values), 3, -1), processor).reshape(len(values), -1)
    return in_levels(values.reshape(-1, *values.shape[-3:]), processor)


def same_pixels(mine: np.ndarray, theirs: np.ndarray) -> None:
    """Pillow's and torchvision's bicubic differ by a few grey levels in places."""
    difference = np.abs(mine - theirs)
    assert difference.mean() < 1.0
    assert difference.max() < 6.0


@pytest.mark.parametrize("size", [(640, 480), (300, 900), (1500, 400), (450, 449)])
def test_one_image(
    family: str, preprocessor: Any, processor: Any, tmp_path: Path, size: tuple[int, int]
) -> None:
    ref = picture(tmp_path, *size)
    prompt = f"<|im_start|>user\n{preprocessor.placeholders['image']}what?<|im_end|>\n"
    mine = preprocessor.prepare(ask(prompt, ref))
    theirs = processor(text=[prompt], images=[Image.open(str(ref.path))], return_tensors="pt")
    assert mine.input_ids.tolist() == theirs["input_ids"][0].tolist()
    assert preprocessor.estimate(ask(prompt, ref)) == mine.length
    same_pixels(levels(mine, "image"), theirs_in_levels(theirs, family, processor))
    visual = sum(t * h * w for each in mine.vision for t, h, w in each.blocks)
    assert visual == np.count_nonzero(mine.token_types) == mine.media[0].tokens


def test_several_images(family: str, preprocessor: Any, processor: Any, tmp_path: Path) -> None:
    refs = [picture(tmp_path, 640, 480), picture(tmp_path, 200, 700)]
    place = preprocessor.placeholders["image"]
    prompt = f"{place}one {place}two"
    mine = preprocessor.prepare(ask(prompt, *refs))
    images: Any = [Image.open(str(ref.path)) for ref in refs]
    theirs = processor(
        text=[prompt], images=[images] if family == "llava_onevision" else images, return_tensors="pt"
    )
    assert mine.input_ids.tolist() == theirs["input_ids"][0].tolist()
    assert preprocessor.estimate(ask(prompt, *refs)) == mine.length
    same_pixels(levels(mine, "image"), theirs_in_levels(theirs, family, processor))


def test_text_and_special_tokens_only(preprocessor: Any, processor: Any) -> None:
    prompt = "<|im_start|>user\nwhat is it?<|im_end|>\n<|im_start|>assistant\n"
    mine = preprocessor.prepare(ask(prompt))
    assert mine.input_ids.tolist() == processor(text=[prompt], return_tensors="pt")["input_ids"][0].tolist()
    assert not mine.token_types.any()


def test_a_video(family: str, preprocessor: Any, processor: Any, shared: Path) -> None:
    path = str(shared / "media/videos/torchcodec_h265_video.mp4")
    prompt = f"{preprocessor.placeholders['video']}what?"
    mine = preprocessor.prepare(ask(prompt, MediaRef("video", path=path)))
    known, chosen = probe(path), mine.media[0].frames
    frames = list(open_reader().read(path, known, chosen))
    shown = np.stack([resize(Image.fromarray(frame), mine.media[0].input_size) for frame in frames])
    rate = (len(known.timestamps) - 1) / (known.timestamps[-1] - known.timestamps[0])
    told = {
        "total_num_frames": len(known.timestamps),
        "fps": rate,
        "frames_indices": [round(stamp * rate) for stamp in mine.media[0].timestamps],
        "duration": known.timestamps[-1],
    }
    theirs = processor(
        text=[prompt],
        videos=[shown.transpose(0, 3, 1, 2)],
        return_tensors="pt",
        video_metadata=[transformers.video_utils.VideoMetadata(**told)],
        videos_kwargs={"do_sample_frames": False, "do_resize": False},
    )
    ids = theirs["input_ids"][0].tolist()
    if family == "qwen3_vl":
        ids = without_outer_tokens(ids, processor)
    assert mine.input_ids.tolist() == ids
    key = "pixel_values" if family == "internvl" else "pixel_values_videos"
    difference = levels(mine, "video") - theirs_in_levels(theirs, family, processor, key)
    assert np.abs(difference).max() < 1e-2
    estimate = preprocessor.estimate(ask(prompt, MediaRef("video", path=path)))
    assert abs(estimate - mine.length) <= 0.02 * mine.length + 4


def without_outer_tokens(ids: list[int], processor: Any) -> list[int]:
    """transformers 5.17 to 5.24 write a start token before the first timestamp and an end token after the
    last frame; Qwen3-VL was trained without them (transformers 4.57 replaced the whole placeholder).
    """
    start, end = processor.vision_start_token_id, processor.vision_end_token_id
    if ids[0] == start and ids[1] != processor.video_token_id:
        last = max(place for place, token in enumerate(ids) if token == end)
        return ids[1:last] + ids[last + 1 :]
    return ids


def test_preprocessors_are_sent_to_processes(preprocessor: Any) -> None:
    assert pickle.loads(pickle.dumps(preprocessor)) == preprocessor


@settings(max_examples=150, deadline=None)
@given(height=st.integers(2, 4000), width=st.integers(2, 4000))
def test_anyres_layout_is_that_of_transformers(height: int, width: int) -> None:
    from transformers.image_processing_utils import select_best_resolution
    from transformers.models.llava_onevision.modeling_llava_onevision import unpad_image

    canvas = select_best_resolution((height, width), CANVASES)
    assert ANYRES.canvas((height, width)) == tuple(canvas)
    import torch

    grid = torch.zeros(1, canvas[0] // 384 * 27, canvas[1] // 384 * 27)
    _, rows, columns = unpad_image(grid, (height, width)).shape
    ratio = (rows * columns / (9 * 27**2)) ** 0.5
    if ratio > 1.1:
        rows, columns = int(rows // ratio), int(columns // ratio)
    assert ANYRES.unpadded_grid((height, width)) == (1, rows, columns + 1)


@settings(max_examples=150, deadline=None)
@given(height=st.integers(2, 4000), width=st.integers(2, 4000))
def test_tiles_are_arranged_as_in_transformers(height: int, width: int) -> None:
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    mine = InternVLPreprocessor("tokenizer.json", tile=448, side=16, least=1, most=12).arrangement(
        (width, height), 1
    )
    assert mine == get_optimal_tiled_canvas((height, width), (448, 448), 1, 12)


@pytest.mark.parametrize("count", [1, 3, 40])
def test_requests_stay_within_the_cap(preprocessor: Any, tmp_path: Path, count: int) -> None:
    refs = [picture(tmp_path, 1600, 1200)] * count
    prepared = preprocessor.prepare(ask(preprocessor.placeholders["image"] * count, *refs))
    assert sum(medium.tokens for medium in prepared.media) <= max(24576, 729 * count)
