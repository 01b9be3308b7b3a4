"""Prompts of random bytes for the families' tiny models, and transformers' arguments for them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tiny_qwen import END, EOS, IMAGE_PAD, PAD, START, VIDEO_PAD
from transformers_reference import MediaInputs, internvl_inputs, llava_inputs, qwen_inputs

from evalkit.core.types import MediaKind, Prepared, VisionInput
from evalkit.inference.stopping import GenerationTokens
from evalkit.inference.vision_features import Encode
from evalkit.models.families._qwen import vision as qwen_vision
from evalkit.models.families.internvl import adapter as internvl
from evalkit.models.families.llava_onevision import adapter as llava_onevision
from evalkit.models.families.llava_onevision.layout import Anyres
from evalkit.models.families.llava_onevision.tiny import CANVASES, TILE
from evalkit.models.families.registry import adapter_of

SIZES = ((5, 7), (50, 30))
"""Heights and widths of images in pixels, for the families that cut them into tiles."""

Medium = tuple[MediaKind, int]
"""A kind and a number that its shape follows from."""


ANYRES = Anyres(tuple((height, width) for height, width in CANVASES), TILE, 3, 9)


def _qwen_medium(random: Any, kind: MediaKind, number: int, images: int, by_frame: bool = False) -> Any:
    grid = (1, 4 + 2 * number, 6) if kind == "image" else (3 + 2 * number, 4, 4)
    t, h, w = (grid[0], grid[1] // 2, grid[2] // 2)
    blocks = ((1, h, w),) * t if by_frame else ((t, h, w),)
    patches = random.integers(0, 256, (grid[0] * grid[1] * grid[2], 3 * 2 * 14 * 14), dtype=np.uint8)
    seconds = 0.8 if kind == "video" and not by_frame else None
    pad = IMAGE_PAD if kind == "image" else VIDEO_PAD
    pieces = [([65, START], pad, b[0] * b[1] * b[2], 0, [END]) for b in blocks]
    return VisionInput(kind, patches, grid, blocks, seconds), pieces


def _llava_medium(random: Any, kind: MediaKind, number: int, images: int) -> Any:
    side = ANYRES.frame_side
    if kind == "video":
        frames = 3 + number
        block = (frames, side, side)
        patches = random.integers(0, 256, (frames, 3, TILE, TILE), dtype=np.uint8)
        return VisionInput(kind, patches, block, (block,)), [([], VIDEO_PAD, frames * side**2, 1, [])]
    size = SIZES[number % 2]
    blocks = ANYRES.blocks(size) if images == 1 else ((1, 3, 3),)
    canvas = ANYRES.canvas(size)
    tiles = 1 + canvas[0] * canvas[1] // TILE**2 if images == 1 else 1
    patches = random.integers(0, 256, (tiles, 3, TILE, TILE), dtype=np.uint8)
    tokens = sum(t * h * w for t, h, w in blocks)
    return VisionInput(kind, patches, (1, *size), blocks), [([], IMAGE_PAD, tokens, int(images > 1), [])]


def _internvl_medium(random: Any, kind: MediaKind, number: int, images: int) -> Any:
    count = 1 + 2 * number if kind == "image" else 3 + number
    patches = random.integers(0, 256, (count, 3, 56, 56), dtype=np.uint8)
    blocks = ((1, 2, 2),) * count
    around = ([START], [END])
    if kind == "image":
        pieces = [(around[0], IMAGE_PAD, 4 * count, 0, around[1])]
    else:
        pieces = [([70, *around[0]], IMAGE_PAD, 4, 0, around[1])] * count
    return VisionInput(kind, patches, (count, 1, 1), blocks), pieces


@dataclass(frozen=True)
class TinyFamily:
    name: str
    medium: Callable[..., Any]
    media_inputs: MediaInputs
    encode: Encode
    native: str
    own_inputs: Callable[[Any, Prepared], dict[str, Any]]

    def model(self) -> Any:
        adapter = adapter_of(self.name)
        tiny = importlib.import_module(f"evalkit.models.families.{self.name}.tiny").TINY
        return tiny.model(adapter.model_class)

    @property
    def generation_tokens(self) -> GenerationTokens:
        banned = (IMAGE_PAD, VIDEO_PAD, PAD)
        return GenerationTokens(frozenset({EOS}), banned, (IMAGE_PAD, VIDEO_PAD))

    def prompt(self, key: str, *parts: int | Medium, limit: int = 8) -> Prepared:
        """A prompt out of text lengths and media; contents depend on ``key`` only."""
        random = np.random.default_rng(sum(key.encode()))
        images = sum(not isinstance(part, int) and part[0] == "image" for part in parts)
        ids: list[int] = []
        types: list[int] = []
        vision: list[VisionInput] = []
        for part in parts:
            if isinstance(part, int):
                ids += random.integers(0, 256, part).tolist()
                types += [0] * part
                continue
            shown, pieces = self.medium(random, *part, images)
            vision.append(shown)
            for before, pad, visual, separators, after in pieces:
                ids += [*before, *[pad] * (visual + separators), *after]
                kind = 1 if part[0] == "image" else 2
                types += [0] * len(before) + [kind] * visual + [0] * (separators + len(after))
        pad_tokens = np.isin(ids, (IMAGE_PAD, VIDEO_PAD))
        prefix = int(np.flatnonzero(pad_tokens)[-1]) + 1 if pad_tokens.any() else 0
        types_ = np.array(types, np.uint8)
        return Prepared(key, np.array(ids, np.int64), types_, tuple(vision), limit, prefix=prefix)

    @property
    def prompts(self) -> Sequence[Prepared]:
        return (
            self.prompt("image", 5, ("image", 1), 7),
            self.prompt("two images", 3, ("image", 0), 4, ("image", 1), 6),
            self.prompt("video", 4, ("video", 2), 5),
            self.prompt("image+video", 2, ("image", 0), 3, ("video", 1), 9),
            self.prompt("text-only", 11),
            self.prompt("mix", 1, ("video", 1), 2, ("image", 0), 1, ("image", 1), 3, ("video", 1), 4),
        )


def _qwen_own(family: TinyFamily, model: Any, item: Prepared) -> dict[str, Any]:
    ids = torch.from_numpy(item.input_ids)[None]
    types = torch.where(ids == IMAGE_PAD, 1, torch.where(ids == VIDEO_PAD, 2, 0))
    seconds = [each.seconds_per_grid for each in item.vision if each.seconds_per_grid]
    clocked = model.config.model_type == "qwen2_5_vl"
    added = {"second_per_grid_ts": torch.tensor(seconds)} if seconds and clocked else {}
    return {"mm_token_type_ids": types.int(), **added, **_media(family, model, item)}


def _media(family: TinyFamily, model: Any, item: Prepared) -> dict[str, Any]:
    if not item.vision:
        return {}
    inputs = {"input_ids": torch.from_numpy(item.input_ids)[None]}
    return family.media_inputs(model, [item], inputs)


def _llava_own(model: Any, item: Prepared) -> dict[str, Any]:
    def pixels(each: VisionInput) -> torch.Tensor:
        return (torch.from_numpy(each.patches).float() - 127.5) / 127.5

    images = [each for each in item.vision if each.kind == "image"]
    videos = [each for each in item.vision if each.kind == "video"]
    found: dict[str, Any] = {}
    if images:
        most = max(len(each.patches) for each in images)
        padded = torch.zeros(len(images), most, 3, TILE, TILE)
        for number, each in enumerate(images):
            padded[number, : len(each.patches)] = pixels(each)
        found["pixel_values"] = padded
        found["image_sizes"] = torch.tensor([each.grid[1:] for each in images])
        found["batch_num_images"] = torch.tensor([len(images)])
    if videos:
        found["pixel_values_videos"] = torch.stack([pixels(each) for each in videos])
    return found


def _family(
    name: str, medium: Any, media_inputs: MediaInputs, encode: Encode, native: str, own: Any = None
) -> TinyFamily:
    if own is not None:
        return TinyFamily(name, medium, media_inputs, encode, native, own)
    plain = TinyFamily(name, medium, media_inputs, encode, native, lambda model, item: {})
    reader = _qwen_own if media_inputs is qwen_inputs else _media
    return replace(plain, own_inputs=lambda model, item: reader(plain, model, item))


def _qwen3_medium(random: Any, kind: MediaKind, number: int, images: int) -> Any:
    return _qwen_medium(random, kind, number, images, by_frame=kind == "video")


TINY = {
    family.name: family
    for family in (
        _family("qwen2_vl", _qwen_medium, qwen_inputs, qwen_vision.encode, "mrope"),
        _family("qwen2_5_vl", _qwen_medium, qwen_inputs, qwen_vision.encode, "mrope"),
        _family("qwen3_vl", _qwen3_medium, qwen_inputs, qwen_vision.encode, "mrope-i(spatial_reset=false)"),
        _family(
            "llava_onevision", _llava_medium, llava_inputs, llava_onevision.encode, "vanilla", _llava_own
        ),
        _family("internvl", _internvl_medium, internvl_inputs, internvl.encode, "vanilla"),
    )
}


@torch.inference_mode()
def recomputed(model: Any, family: TinyFamily, item: Prepared, answer: Sequence[int]) -> list[int]:
    """The token after the prompt, and after each beginning of an answer, without a cache: in one plain call,
    since no token sees what comes after it.
    """
    inputs = {key: each for key, each in family.own_inputs(model, item).items() if key != "input_ids"}
    ids = torch.cat([torch.from_numpy(item.input_ids), torch.tensor(answer, dtype=torch.long)])[None]
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(answer)))
    logits = model(input_ids=ids, **inputs, use_cache=False).logits[0, item.length - 1 :]
    banned = torch.tensor(family.generation_tokens.banned_token_ids)
    tokens: list[int] = logits.index_fill(1, banned, -torch.inf).argmax(1).tolist()
    return tokens
