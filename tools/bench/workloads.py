"""Workloads: questions of benchmarks, or generated ones about noise; and models with random weights."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.core.errors import UsageError, did_you_mean
from evalkit.core.registry import load_task, resolve
from evalkit.core.types import MediaRef, Part, Request, Text
from evalkit.data.cache import MediaCache, cache_root
from evalkit.data.selection import choose_samples
from evalkit.models.base import ModelInfo
from evalkit.models.weights import no_progress_bars
from evalkit.runner.requests import render

VOCABULARY = 384
"""Tokens of the built-in model's tokenizer."""

TASK_SAMPLES = 60
"""Asked of each task unless told otherwise."""

FRAMES_A_SECOND = 2
"""Frame rate of generated videos, and the rate at which random models sample them."""


@dataclass(frozen=True)
class BenchPrompt:
    """A question for all systems."""

    parts: tuple[Part, ...]
    max_new_tokens: int


@dataclass(frozen=True)
class Workload:
    """Generated questions.

    Attributes:
        media: number of images or videos.
        questions: about each medium.
        size: width and height in pixels.
        frames: of a video; 0 for images.
        new_tokens: limit of an answer.
    """

    media: int
    questions: int
    size: tuple[int, int]
    frames: int = 0
    new_tokens: int = 8

    def generate(self, folder: Path) -> list[BenchPrompt]:
        """Write the media, and return the questions; the same in every run."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # encoders leave Python alone
            media = list(pool.map(lambda number: self._medium(folder, number), range(self.media)))
        return [
            BenchPrompt(
                (ref, Text(f"question {question}: what is in field {17 * question + number}?")),
                self.new_tokens,
            )
            for number, ref in enumerate(media)
            for question in range(self.questions)
        ]

    def _medium(self, folder: Path, number: int) -> MediaRef:
        path = folder / f"{self.size[0]}x{self.size[1]}x{self.frames}-{number}"
        return _video(path, self, number) if self.frames else _image(path, self, number)


WORKLOADS = {
    "images": Workload(media=60, questions=1, size=(448, 336)),
    "reasoning": Workload(media=64, questions=1, size=(448, 336), new_tokens=128),
    "video": Workload(media=3, questions=10, size=(448, 336), frames=16),
    "docvqa": Workload(media=96, questions=1, size=(1540, 1988), new_tokens=10),
    "videomme": Workload(media=16, questions=3, size=(448, 448), frames=64, new_tokens=2),
}
"""``docvqa`` and ``videomme`` are of the size of these benchmarks' samples, for models of 7B on a GPU;
``reasoning`` has long answers.
"""


def bench_prompts(
    tasks: tuple[str, ...], limit: int | None, workload: str | None, data_root: str | None, folder: Path
) -> list[BenchPrompt]:
    """Questions of tasks, at most ``limit`` of each, or those about ``limit`` media of a generated workload.

    Raises:
        UsageError: there is no such workload.
    """
    if workload is not None:
        if workload not in WORKLOADS:
            hint = did_you_mean(workload, WORKLOADS)
            raise UsageError(
                f"workload `{workload}`", f"there is none of this name.{hint}", f"use {', '.join(WORKLOADS)}"
            )
        found = WORKLOADS[workload]
        return replace(found, media=limit or found.media).generate(folder)
    cache = MediaCache(cache_root() / "media")
    return [
        BenchPrompt(each.sample.parts, task.max_new_tokens)
        for task in (load_task(name) for name in resolve(tasks))
        for each in choose_samples(task.samples(data_root), limit or TASK_SAMPLES, cache)
        if each.sample.problem is None
    ]


def to_requests(model: ModelInfo, questions: list[BenchPrompt]) -> list[Request]:
    """Requests of a model; the key of each is the question's number."""
    found = []
    for number, each in enumerate(questions):
        prompt, by_frames = render(model, each.parts)
        media = tuple(part for part in each.parts if isinstance(part, MediaRef))
        name = str(number)
        found.append(
            Request(
                key=name,
                task="bench",
                sample_id=name,
                prompt=prompt,
                media=media,
                max_new_tokens=each.max_new_tokens,
                by_frames=by_frames,
            )
        )
    return found


def random_model(name: str, folder: Path) -> str:
    """The checkpoint folder of ``random:KIND``, a model with random weights that is created in ``folder``;
    any other name is returned as it is.

    Raises:
        UsageError: there is no such kind.
    """
    kind = name.partition(":")[2]
    if not name.startswith("random:"):
        return name
    if kind not in _KINDS:
        raise UsageError(
            f"model `{name}`",
            f"there are random weights for {', '.join(_KINDS)}.{did_you_mean(kind, _KINDS)}",
            "use one of these",
        )
    target = folder / kind
    if not (target / "config.json").is_file():
        target.mkdir(parents=True)
        _copy_tokenizer(target)
        _KINDS[kind](target)
    return str(target)


def _image(path: Path, workload: Workload, seed: int) -> MediaRef:
    from PIL import Image

    target = path.with_suffix(".jpg")
    if not target.is_file():
        Image.fromarray(next(_pictures(workload, seed))).save(target, quality=90)
    return MediaRef("image", str(target))


def _video(path: Path, workload: Workload, seed: int) -> MediaRef:
    import av

    target = path.with_suffix(".mp4")
    if not target.is_file():
        with av.open(str(target), "w") as container:
            # RGB, since no two libraries make the same of YUV.
            stream: Any = container.add_stream("libx264rgb", rate=Fraction(FRAMES_A_SECOND))
            stream.width, stream.height, stream.pix_fmt = *workload.size, "rgb24"
            # One thread and no code of this processor's own, or the file depends on the machine.
            stream.options = {
                "crf": "28",
                "preset": "veryfast",
                "threads": "1",
                "x264-params": "cpu-independent=1",
            }
            for picture in _pictures(workload, seed):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    return MediaRef("video", str(target))


def _pictures(workload: Workload, seed: int) -> Iterator[Any]:
    """Soft noise that drifts: as large in a file as photographs are."""
    from PIL import Image

    width, height = workload.size
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 64, width // 8 + 64, 3), np.uint8)
    for number in range(max(1, workload.frames)):
        part = noise[number % 64 :, number % 64 :][: height // 8, : width // 8]
        yield np.asarray(Image.fromarray(part).resize((width, height), Image.Resampling.BICUBIC))


def _copy_tokenizer(target: Path) -> None:
    """Everything of the built-in model but its weights and configuration."""
    with_files = files("evalkit") / "zoo" / "checkpoints" / "tiny-mrope"
    for source in with_files.iterdir():
        if source.name not in ("model.safetensors", "config.json", "generation_config.json"):
            shutil.copyfile(str(source), target / source.name)
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        settings = json.loads((target / name).read_text())
        settings |= {"max_pixels": 16384 * 784, "size": {"shortest_edge": 3136, "longest_edge": 16384 * 784}}
        (target / name).write_text(json.dumps(settings))


def _small(target: Path) -> None:
    """Qwen2.5-VL scaled down: like the 3B model, half of the work on an image is the vision tower's."""
    text = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_key_value_heads": 4}
    vision = {"depth": 8, "hidden_size": 160, "intermediate_size": 448, "num_heads": 4}
    _qwen2_5_vl(
        target, {**text, "num_attention_heads": 8}, {**vision, "fullatt_block_indexes": [3, 7]}, "float32"
    )


def _tower(target: Path) -> None:
    """The same with a large tower and a small language model."""
    text = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_key_value_heads": 4}
    vision = {"depth": 16, "hidden_size": 320, "intermediate_size": 896, "num_heads": 4}
    _qwen2_5_vl(
        target, {**text, "num_attention_heads": 4}, {**vision, "fullatt_block_indexes": [7, 15]}, "float32"
    )


def _thin(target: Path) -> None:
    """So small that a prompt of 256k tokens is read in minutes on two cores."""
    text = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_key_value_heads": 4}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2}
    _qwen2_5_vl(
        target, {**text, "num_attention_heads": 4}, {**vision, "fullatt_block_indexes": [1]}, "float32"
    )


def _seven(target: Path) -> None:
    """The shapes of Qwen2.5-VL-7B-Instruct."""
    text = {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
    }
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
    text |= {"num_attention_heads": 28, "vocab_size": 152064}
    _qwen2_5_vl(target, text, {**vision, "fullatt_block_indexes": [7, 15, 23, 31]}, "bfloat16")


def _qwen2_5_vl(target: Path, text: dict[str, Any], vision: dict[str, Any], dtype: str) -> None:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    size = text["hidden_size"] // text["num_attention_heads"] // 2
    rope = {
        "rope_type": "default",
        "rope_theta": 1e6,
        "mrope_section": [size // 4, 3 * size // 8, 3 * size // 8],
    }
    special = _special(target)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 128_000,
            "rope_parameters": rope,
            "bos_token_id": None,
            "eos_token_id": special["<|im_end|>"],
            "pad_token_id": special["<|endoftext|>"],
            **text,
        },
        vision_config={
            "patch_size": 14,
            "window_size": 112,
            "tokens_per_second": 1,
            "out_hidden_size": text["hidden_size"],
            **vision,
        },
        image_token_id=special["<|image_pad|>"],
        video_token_id=special["<|video_pad|>"],
        vision_start_token_id=special["<|vision_start|>"],
        vision_end_token_id=special["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    _save(Qwen2_5_VLForConditionalGeneration, config, target, dtype)


def _qwen3_vl(target: Path) -> None:
    """Qwen3-VL scaled down."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    special = _special(target)
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 256,
            "intermediate_size": 768,
            "num_hidden_layers": 6,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 32,
            "max_position_embeddings": 128_000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [6, 5, 5]},
            "eos_token_id": special["<|im_end|>"],
            "pad_token_id": special["<|endoftext|>"],
        },
        vision_config={
            "depth": 6,
            "hidden_size": 160,
            "intermediate_size": 448,
            "num_heads": 4,
            "out_hidden_size": 256,
            "patch_size": 16,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [1, 3, 5],
        },
        image_token_id=special["<|image_pad|>"],
        video_token_id=special["<|video_pad|>"],
        vision_start_token_id=special["<|vision_start|>"],
        vision_end_token_id=special["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    kinds = {
        "preprocessor_config.json": {"image_processor_type": "Qwen2VLImageProcessor"},
        "video_preprocessor_config.json": {"video_processor_type": "Qwen3VLVideoProcessor"},
    }
    for name, kind in kinds.items():
        settings = json.loads((target / name).read_text()) | kind
        settings |= {"patch_size": 16, "processor_class": "Qwen3VLProcessor"}
        settings |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        settings = {key: value for key, value in settings.items() if not key.endswith("_pixels")}
        (target / name).write_text(json.dumps(settings))
    _save(Qwen3VLForConditionalGeneration, config, target, "float32")


_KINDS: dict[str, Callable[[Path], None]] = {
    "qwen2_5_vl": _small,
    "qwen2_5_vl-tower": _tower,
    "qwen2_5_vl-thin": _thin,
    "qwen2_5_vl-7b": _seven,
    "qwen3_vl": _qwen3_vl,
}


def _special(target: Path) -> dict[str, int]:
    """Ids of a tokenizer's special tokens."""
    added = json.loads((target / "tokenizer.json").read_text())["added_tokens"]
    return {each["content"]: int(each["id"]) for each in added}


def _save(kind: Any, config: Any, target: Path, dtype: str) -> None:
    """Weights that are drawn where that is fast; larger ones than for training, so that answers differ."""
    import torch

    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = kind._from_config(config, dtype=getattr(torch, dtype)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 1.5 * parameter[0].numel() ** -0.5)
        model.lm_head.weight[VOCABULARY:] = 0  # the tokenizer can't write these
        # Nor can an answer have these: no trained model writes them, and the engine forbids them.
        model.lm_head.weight[
            [config.image_token_id, config.video_token_id, config.text_config.pad_token_id]
        ] = 0
    with no_progress_bars():
        model.save_pretrained(target)
