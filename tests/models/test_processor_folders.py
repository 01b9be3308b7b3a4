"""Processors of folders as transformers and trainers leave them: ours makes what ``AutoProcessor`` makes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import transformers
from family_checkpoints import REAL, preprocessor_of, processor_of, save_folder, save_published
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evalkit.core.errors import EnvironmentProblem
from evalkit.core.types import MediaKind, MediaRef, Request, Text
from evalkit.data.video import open_reader, probe
from evalkit.inference.normalisation import normalised
from evalkit.models import FAMILIES as FAMILY_ROWS
from evalkit.models.families._qwen.preprocess import PixelLimits, QwenPreprocessor

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_onevision", "internvl")
SETTINGS = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")


def whole(folder: Path) -> Any:
    return transformers.AutoProcessor.from_pretrained(folder)


def as_published(folder: Path, base: Path) -> None:
    shutil.copytree(base, folder, dirs_exist_ok=True)


def as_transformers_5_saves(folder: Path, base: Path) -> None:
    whole(base).save_pretrained(folder)
    transformers.AutoConfig.from_pretrained(base).save_pretrained(folder)


def as_transformers_4_saved(folder: Path, base: Path) -> None:
    """A file for each part, and the template of the processor in ``chat_template.json``."""
    own = whole(base)
    own.tokenizer.save_pretrained(folder, save_jinja_files=False)
    own.image_processor.save_pretrained(folder)
    own.video_processor.save_pretrained(folder)
    template = own.chat_template or own.tokenizer.chat_template
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    if (base / "processor_config.json").is_file():
        shutil.copy(base / "processor_config.json", folder)
    transformers.AutoConfig.from_pretrained(base).save_pretrained(folder)


def as_a_trainer_leaves_it(folder: Path, base: Path) -> None:
    """Trained with other settings; the base's own files are copied beside them."""
    own = whole(base)
    for part in (own.image_processor, own.video_processor):
        part.image_mean, part.image_std = [0.4, 0.45, 0.5], [0.2, 0.25, 0.3]
    own.video_processor.image_mean = [0.1, 0.2, 0.3]
    if "longest_edge" in own.image_processor.size:
        own.image_processor.size = {"shortest_edge": 32 * 32 * 4, "longest_edge": 32 * 32 * 200}
        own.video_processor.size = {"shortest_edge": 32 * 32 * 4, "longest_edge": 32 * 32 * 150}
    own.save_pretrained(folder)
    for name in SETTINGS[:2]:
        if (base / name).is_file():
            shutil.copy(base / name, folder)
    transformers.AutoConfig.from_pretrained(base).save_pretrained(folder)


def with_vocabulary_and_merges_only(folder: Path, base: Path) -> None:
    shutil.copytree(base, folder, dirs_exist_ok=True)
    whole(base).tokenizer.backend_tokenizer.model.save(str(folder))
    (folder / "tokenizer.json").unlink()


KINDS: dict[str, Callable[[Path, Path], None]] = {
    "published": as_published,
    "transformers 5": as_transformers_5_saves,
    "transformers 4": as_transformers_4_saved,
    "trained": as_a_trainer_leaves_it,
}


@pytest.fixture(scope="module", params=FAMILIES)
def base(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("base") / request.param, request.param, shared)


def published(folder: Path, family: str, shared: Path) -> Path:
    return save_published(folder, family, shared) if family in REAL else save_folder(folder, family)


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("folder") / base.name
    made.mkdir()
    KINDS[request.param](made, base)
    return made


@dataclass(frozen=True)
class Made:
    """A folder and what it is read as, by us and by transformers."""

    folder: Path
    processor: Any
    ours: Any
    theirs: Any


@pytest.fixture(scope="module")
def made(folder: Path) -> Made:
    return Made(folder, processor_of(folder), preprocessor_of(folder), whole(folder))


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> MediaRef:
    """As smooth as a photograph: on white noise, bicubic kernels differ in how they saturate."""
    path = tmp_path_factory.mktemp("media") / "picture.png"
    coarse = np.random.default_rng(0).integers(0, 256, (10, 13, 3), np.uint8)
    Image.fromarray(coarse).resize((600, 410), Image.Resampling.BILINEAR).save(path)
    return MediaRef("image", path=str(path))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> MediaRef:
    return film(tmp_path_factory.mktemp("media") / "long.mp4", 60)


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> MediaRef:
    return film(tmp_path_factory.mktemp("media") / "short.mp4", 7)


def film(path: Path, frames: int) -> MediaRef:
    """384 x 320 pixels, two frames a second."""
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8))
    still = np.asarray(coarse.resize((384, 320), Image.Resampling.BILINEAR))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = 384, 320, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(still, 4 * number, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return MediaRef("video", path=str(path))


def ask(prompt: str, ref: MediaRef) -> Request:
    return Request(key="k", task="t", sample_id="s", prompt=prompt, media=(ref,), max_new_tokens=8)


def pixels_of(prepared: Any, processor: Any) -> np.ndarray:
    import torch

    (shown,) = prepared.vision
    return normalised([(shown, shown.patches)], processor.normalise, torch.device("cpu")).numpy()


def same_pixels(mine: np.ndarray, theirs: Any, processor: Any, kind: MediaKind) -> None:
    """Pillow's and torchvision's bicubic differ by a few grey levels in places."""
    rule = processor.normalise[kind]
    theirs = np.asarray(theirs).reshape(mine.shape)
    levels = np.abs(mine - theirs).reshape(len(mine), 3, -1) * rule.levels * np.reshape(rule.std, (3, 1))
    assert levels.mean() < 1.0
    assert levels.max() < 8.0


def test_an_image_is_shown_as_transformers_shows_it(made: Made, picture: MediaRef) -> None:
    prompt = f"<|im_start|>user\n{made.ours.placeholders['image']}what?<|im_end|>\n"
    mine = made.ours.prepare(ask(prompt, picture))
    found = made.theirs(text=[prompt], images=[Image.open(str(picture.path))], return_tensors="pt")
    assert mine.input_ids.tolist() == found["input_ids"][0].tolist()
    if "image_grid_thw" in found:
        assert [mine.vision[0].grid] == [tuple(grid) for grid in found["image_grid_thw"].tolist()]
    same_pixels(pixels_of(mine, made.processor), found["pixel_values"], made.processor, "image")


def test_a_video_is_shown_as_transformers_shows_it(made: Made, short: MediaRef) -> None:
    prompt = f"{made.ours.placeholders['video']}what?"
    mine = made.ours.prepare(ask(prompt, short))
    known, chosen = probe(str(short.path)), mine.media[0].frames
    frames = np.stack(list(open_reader().read(str(short.path), known, chosen)))
    found = made.theirs(
        text=[prompt],
        videos=[frames.transpose(0, 3, 1, 2)],
        return_tensors="pt",
        video_metadata=[told(len(known.timestamps), list(chosen))],
        videos_kwargs={"do_sample_frames": False},
    )
    ids = found["input_ids"][0].tolist()
    if "video_grid_thw" in found:
        assert [mine.vision[0].grid] == [tuple(grid) for grid in found["video_grid_thw"].tolist()]
    if made.folder.name == "qwen3_vl":
        # A second pair of start and end tokens, which the models were not trained with.
        after = len(made.theirs.tokenizer.encode("what?"))
        pair = [made.theirs.vision_start_token_id, made.theirs.vision_end_token_id]
        assert [ids[0], ids[-after - 1]] == pair
        del ids[-after - 1], ids[0]
    assert mine.input_ids.tolist() == ids
    key = "pixel_values" if made.folder.name == "internvl" else "pixel_values_videos"
    same_pixels(pixels_of(mine, made.processor), found[key], made.processor, "video")


def told(frames: int, chosen: list[int]) -> Any:
    return transformers.video_utils.VideoMetadata(
        total_num_frames=frames, fps=2.0, frames_indices=chosen, duration=frames / 2
    )


def test_the_chat_is_written_as_transformers_writes_it(made: Made) -> None:
    content = [{"type": "image"}, {"type": "video"}, {"type": "text", "text": "Which?"}]
    holder = made.theirs if made.theirs.chat_template else made.theirs.tokenizer
    chat = holder.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    parts = [MediaRef("image", path="a"), MediaRef("video", path="b"), Text("Which?")]
    assert made.processor.render(parts, FAMILY_ROWS[made.folder.name], "{}") == chat


@pytest.mark.parametrize("family", [each for each in FAMILIES if each in REAL])
def test_a_vocabulary_and_merges_are_a_tokenizer(family: str, shared: Path, tmp_path: Path) -> None:
    source = published(tmp_path / "base", family, shared)
    with_vocabulary_and_merges_only(tmp_path / "folder", source)
    prompt = "<|im_start|>user\nWhat is é?<|vision_start|><|image_pad|><|vision_end|>"
    ids = preprocessor_of(tmp_path / "folder").encode(prompt)
    assert ids == whole(tmp_path / "folder").tokenizer(prompt)["input_ids"]
    assert ids == preprocessor_of(source).encode(prompt)


def test_a_token_that_only_the_settings_name_is_one_token(shared: Path, tmp_path: Path) -> None:
    """A trainer may add tokens in tokenizer_config.json, and leave tokenizer.json as it was."""
    folder = published(tmp_path / "folder", "qwen2_5_vl", shared)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    place = max(map(int, config["added_tokens_decoder"])) + 1
    config["added_tokens_decoder"][str(place)] = config["added_tokens_decoder"]["151644"] | {
        "content": "<POINT>"
    }
    path.write_text(json.dumps(config))
    assert whole(folder).tokenizer("a<POINT>")["input_ids"][-1] == place
    assert preprocessor_of(folder).encode("a<POINT>")[-1] == place


# What decides on how many tokens the frames of Qwen3-VL get, in every kind of folder.

CLIP_TOKENS = 3600


def without_video_settings(folder: Path, base: Path) -> None:
    as_published(folder, base)
    (folder / "video_preprocessor_config.json").unlink()


def with_nested_image_settings_only(folder: Path, base: Path) -> None:
    as_transformers_5_saves(folder, base)
    path = folder / "processor_config.json"
    content = json.loads(path.read_text())
    del content["video_processor"]
    path.write_text(json.dumps(content))


def with_the_default_of_the_class(folder: Path, base: Path) -> None:
    own = whole(base)
    made = transformers.Qwen3VLVideoProcessor()
    transformers.Qwen3VLProcessor(
        own.image_processor, own.tokenizer, made, chat_template=own.chat_template
    ).save_pretrained(folder)
    shutil.copy(base / "config.json", folder)


def without_limits_in_the_nested_file(folder: Path, base: Path) -> None:
    as_transformers_5_saves(folder, base)
    path = folder / "processor_config.json"
    content = json.loads(path.read_text())
    del content["video_processor"]["size"]
    path.write_text(json.dumps(content))


def with_limits_in_the_old_spelling(folder: Path, base: Path) -> None:
    """Qwen3-VL's video processor, unlike the others, doesn't know ``min_pixels`` and ``max_pixels``."""
    as_published(folder, base)
    path = folder / "video_preprocessor_config.json"
    content = json.loads(path.read_text())
    size = content.pop("size")
    content |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    path.write_text(json.dumps(content))


def with_vocabulary_only(folder: Path, base: Path) -> None:
    with_vocabulary_and_merges_only(folder, base)


@pytest.mark.parametrize(
    "kind",
    [
        as_published,
        as_transformers_5_saves,
        as_transformers_4_saved,
        with_vocabulary_only,
        without_video_settings,
        with_nested_image_settings_only,
        with_the_default_of_the_class,
        without_limits_in_the_nested_file,
        with_limits_in_the_old_spelling,
    ],
)
def test_a_clip_has_its_tokens_or_is_refused(
    kind: Callable[[Path, Path], None], shared: Path, tmp_path: Path, clip: MediaRef
) -> None:
    source = published(tmp_path / "base", "qwen3_vl", shared)
    folder = tmp_path / "folder"
    folder.mkdir()
    kind(folder, source)
    refused = kind in (
        with_nested_image_settings_only,
        with_the_default_of_the_class,
        without_limits_in_the_nested_file,
        with_limits_in_the_old_spelling,
    )
    if refused:
        with pytest.raises(EnvironmentProblem, match="video") as caught:
            preprocessor_of(folder)
        assert caught.value.fix
        return
    (shown,) = preprocessor_of(folder).prepare(ask("<|vision_start|><|video_pad|><|vision_end|>", clip)).media
    assert shown.tokens == CLIP_TOKENS


# What our preprocessing doesn't do, and files that weren't made for each other.


def settings_of(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


@pytest.mark.parametrize(
    ("family", "name", "changed", "said"),
    [
        ("qwen2_vl", "preprocessor_config.json", {"do_resize": False}, "do_resize=False"),
        ("qwen2_vl", "preprocessor_config.json", {"resample": 2}, "resample"),
        (
            "qwen3_vl",
            "video_preprocessor_config.json",
            {"do_resize": False},
            "video processor says do_resize",
        ),
        ("qwen3_vl", "preprocessor_config.json", {"patch_size": 14}, "`patch_size` is 14"),
        ("qwen3_vl", "video_preprocessor_config.json", {"merge_size": 1}, "`merge_size` is 1"),
        ("qwen2_vl", "preprocessor_config.json", {"image_processor_type": "CLIPImageProcessor"}, "CLIP"),
        ("internvl", "video_preprocessor_config.json", {"size": {"height": 384, "width": 384}}, "384"),
        ("internvl", "processor_config.json", {"image_seq_length": 64}, "number of tokens"),
        ("internvl", "preprocessor_config.json", {"size": {"height": 448, "width": 224}}, "square"),
        ("llava_onevision", "processor_config.json", {"num_image_tokens": None}, "number of tokens"),
        ("llava_onevision", "preprocessor_config.json", {"image_grid_pinpoints": [[384, 384]]}, "pinpoints"),
        ("llava_onevision", "preprocessor_config.json", {"do_center_crop": True}, "do_center_crop"),
        ("llava_onevision", "preprocessor_config.json", {"image_mean": [0.5]}, "three numbers"),
    ],
)
def test_settings_that_ours_does_not_follow_are_refused(
    family: str, name: str, changed: Any, said: str, tmp_path: Path
) -> None:
    folder = save_folder(tmp_path / family, family)
    (folder / name).write_text(json.dumps(settings_of(folder, name) | changed))
    with pytest.raises(EnvironmentProblem, match=said):
        _ = preprocessor_of(folder), processor_of(folder).normalise


def test_pixels_that_are_not_rescaled_are_not(tmp_path: Path, picture: MediaRef) -> None:
    folder = save_folder(tmp_path / "qwen2_vl", "qwen2_vl")
    path = folder / "preprocessor_config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"do_normalize": False, "rescale_factor": 1 / 127.5})
    )
    processor, theirs = processor_of(folder), whole(folder)
    prompt = "<|vision_start|><|image_pad|><|vision_end|>"
    mine = preprocessor_of(folder).prepare(ask(prompt, picture))
    found = theirs(text=[prompt], images=[Image.open(str(picture.path))], return_tensors="pt")
    same_pixels(pixels_of(mine, processor), found["pixel_values"], processor, "image")
    assert processor.normalise["video"] != processor.normalise["image"]


# Templates: which file goes first is for transformers to say.


ORDERS = (TEMPLATES[:1], TEMPLATES[1:2], TEMPLATES[2:], TEMPLATES[:2], TEMPLATES[1:], TEMPLATES)


@pytest.mark.parametrize("places", ORDERS)
def test_templates_go_in_the_order_of_transformers(places: tuple[str, ...], tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "qwen3_vl", "qwen3_vl")
    config = settings_of(folder, "tokenizer_config.json")
    usual = config.pop("chat_template")
    for place in places:
        marked = "{# " + place + " #}" + usual
        if place == "chat_template.jinja":
            (folder / place).write_text(marked)
        elif place == "chat_template.json":
            (folder / place).write_text(json.dumps({"chat_template": marked}))
        else:
            config["chat_template"] = marked
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    theirs = whole(folder)
    assert processor_of(folder).template == (theirs.chat_template or theirs.tokenizer.chat_template)


def test_additional_templates_leave_the_default_one(shared: Path, tmp_path: Path) -> None:
    folder = published(tmp_path / "qwen3_vl", "qwen3_vl", shared)
    own = whole(folder)
    own.chat_template = {"default": own.chat_template, "tools": "{{ messages }}"}
    own.save_pretrained(tmp_path / "saved")
    shutil.copy(folder / "config.json", tmp_path / "saved")
    assert (tmp_path / "saved/additional_chat_templates/tools.jinja").is_file()
    assert processor_of(tmp_path / "saved").template == own.chat_template["default"]


def test_a_template_that_knows_of_no_media_is_a_message(shared: Path, tmp_path: Path) -> None:
    """The published tokenizer of Qwen2.5-VL has a text-only template, which raises on an image."""
    folder = published(tmp_path / "qwen2_5_vl", "qwen2_5_vl", shared)
    (folder / "chat_template.json").unlink()
    processor = processor_of(folder)
    with pytest.raises(EnvironmentProblem, match="chat template"):
        processor.check_template(FAMILY_ROWS["qwen2_5_vl"], "{}", QwenPreprocessor.placeholders)


@pytest.mark.parametrize(
    "broken", ["{% for", "{{ raise_exception('no') }}", "{{ messages[9].role.x }}", "{{ 1/0 }}"]
)
def test_a_template_that_fails_is_a_message(broken: str, tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "qwen2_vl", "qwen2_vl")
    (folder / "chat_template.jinja").write_text(broken)
    with pytest.raises(EnvironmentProblem, match=r"chat template .* can't be rendered"):
        processor_of(folder).check_template(FAMILY_ROWS["qwen2_vl"], "{}", QwenPreprocessor.placeholders)


@pytest.mark.parametrize("name", [*SETTINGS[:2], "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["", "[1]", "{", "\x00", "null"])
def test_damaged_files_are_messages(name: str, content: str, tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "qwen2_vl", "qwen2_vl")
    (folder / name).write_text(content)
    with pytest.raises(EnvironmentProblem):
        preprocessor_of(folder)


# The rules by which frames are resized, for all sizes.

SIDES = st.integers(20, 3000)


@settings(max_examples=200, deadline=None)
@given(SIDES, SIDES, st.integers(2, 200), st.integers(1, 10**7), st.integers(10**5, 10**8), st.booleans())
def test_frames_of_qwen3_are_resized_as_in_transformers(
    height: int, width: int, frames: int, low: int, high: int, capped: bool
) -> None:
    made = transformers.Qwen3VLVideoProcessor(cap_pixels_per_frame=capped)
    limits = PixelLimits(1, 2, low, max(low, high), made.max_video_tokens if capped else None)
    ours = QwenPreprocessor("", limits=limits, patch=16, by_frame=True)
    mine = ours._shown_together((width, height), frames, low, ours._most_together(frames))
    assert mine == resized(
        made, (height, width), frames, {"shortest_edge": low, "longest_edge": max(low, high)}
    )


@settings(max_examples=200, deadline=None)
@given(SIDES, SIDES, st.integers(1, 200), st.integers(1, 10**6), st.integers(10**5, 10**8), st.booleans())
def test_frames_of_qwen2_are_resized_as_in_transformers(
    height: int, width: int, frames: int, low: int, high: int, capped: bool
) -> None:
    made = transformers.Qwen2VLVideoProcessor(cap_pixels_per_frame=capped)
    limits = PixelLimits(1, 2, low, max(low, high), made.max_video_tokens if capped else None)
    preprocessor = QwenPreprocessor("", limits=limits, visual_tokens=10**9)
    shown = preprocessor._within((width, height), low, preprocessor._most_of_frame(frames), 10**12)
    size = {"shortest_edge": low, "longest_edge": max(low, high)}
    assert shown == resized(made, (height, width), frames, size)


def resized(made: Any, size: tuple[int, int], frames: int, limits: dict[str, int]) -> tuple[int, int]:
    """Width and height that a video processor of transformers resizes frames to."""
    import torch

    found = []
    parent = transformers.video_processing_utils.BaseVideoProcessor
    own = parent.resize
    try:
        parent.resize = lambda self, image, size, **more: found.append((size.width, size.height))
        made.resize(
            torch.empty(1, frames, 3, *size, device="meta"),
            transformers.image_utils.SizeDict(**limits),
            None,
            factor=made.patch_size * made.merge_size,
            temporal_factor=made.temporal_patch_size,
            cap_pixels_per_frame=made.cap_pixels_per_frame,
        )
    finally:
        parent.resize = own
    return found[0]


def test_limits_of_a_request_beat_those_of_the_checkpoint(tmp_path: Path, clip: MediaRef) -> None:
    for family in ("qwen2_vl", "qwen3_vl"):
        usual = preprocessor_of(save_folder(tmp_path / family, family))
        few = replace(usual, visual_tokens=300)
        (shown,) = few.prepare(ask(usual.placeholders["video"], clip)).media
        assert shown.tokens <= 300
