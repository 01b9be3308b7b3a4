"""LLaVA-OneVision's inputs from a rendered prompt, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from evalkit.data.images import image_size, load_image, resize
from evalkit.models.preprocess import (
    ChatPreprocessor,
    Shown,
    image_settings,
    info_of,
    read_settings,
    tokenizer_file,
)
from evalkit.models.tiles import cut
from evalkit.rope.hosts.llava_onevision import Anyres
from evalkit.types import MediaKind, MediaRef, VisionInput


@dataclass(frozen=True)
class LlavaPreprocessor(ChatPreprocessor):
    """An image alone: a base image and tiles (anyres). Several: a square each, padded with the mean
    colour. A video: every frame a square, pooled to ``anyres.pooled`` tokens a side by the model.

    Frames are limited so that a request stays within the paper's cap on visual tokens.
    """

    anyres: Anyres = field(kw_only=True)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)

    placeholders: ClassVar[Mapping[MediaKind, str]] = {"image": "<image>", "video": "<video>"}
    pads: ClassVar[tuple[str, ...]] = ("<image>", "<video>")

    @classmethod
    def from_folder(cls, folder: Path, pixels: Path | None = None) -> LlavaPreprocessor:
        """Read a checkpoint folder's configuration; ``pixels`` is the folder of its processor's, if another.

        Raises:
            EnvironmentProblem: a file is missing or unreadable.
        """
        config = read_settings(folder / "config.json", required=True)
        image = image_settings(pixels or folder)
        vision = config["vision_config"]
        size, patch = int(vision.get("image_size", 384)), int(vision.get("patch_size", 14))
        most = str(config.get("vision_aspect_ratio", "anyres_max_9")).removeprefix("anyres_max_")
        canvases = tuple((int(h), int(w)) for h, w in config["image_grid_pinpoints"])
        mean = tuple(image.get("image_mean") or (0.5, 0.5, 0.5))
        return cls(tokenizer_file(folder), anyres=Anyres(canvases, size, size // patch, int(most)), mean=mean)

    def show_image(self, ref: MediaRef, among: Sequence[MediaRef]) -> Shown:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        image, side, tile = load_image(ref), self.anyres.side, self.anyres.tile
        size = (image.height, image.width)
        if _together(among):
            tiles = cut(resize(_square(image, self.mean), (tile, tile)), tile)
            vision = VisionInput("image", tiles, (1, *size), ((1, side, side),))
            info = info_of(ref, image.size, (tile, tile), side**2)
            return Shown(vision, info, self.placeholders["image"], separators=1)
        blocks = self.anyres.blocks(size)
        canvas = self.anyres.canvas(size)
        fitted = resize(image, self.anyres.fitted(size)[::-1])
        page = np.zeros((*canvas, 3), np.uint8)
        top, left = ((outer - inner) // 2 for outer, inner in zip(canvas, fitted.shape[:2], strict=True))
        page[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
        tiles = np.concatenate([cut(resize(image, (tile, tile)), tile), cut(page, tile)])
        tokens = sum(t * h * w for t, h, w in blocks)
        info = info_of(ref, image.size, canvas[::-1], tokens)
        return Shown(VisionInput("image", tiles, (1, *size), blocks), info, self.placeholders["image"])

    def show_video(self, ref: MediaRef, among: Sequence[MediaRef]) -> Shown:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        tile, side = self.anyres.tile, self.anyres.pooled
        clip = self.clip(ref, self.most_frames(len(among)))
        frames = [cut(resize(Image.fromarray(frame), (tile, tile)), tile) for frame in clip.frames]
        block = (len(frames), side, side)
        info = info_of(ref, clip.size, (tile, tile), len(frames) * side**2, clip.chosen)
        vision = VisionInput("video", np.concatenate(frames), block, (block,))
        return Shown(vision, info, self.placeholders["video"], separators=1)

    def estimate_medium(self, ref: MediaRef, among: Sequence[MediaRef]) -> int:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        if ref.kind == "video":
            frames, _ = self.expected_frames(ref, self.most_frames(len(among)))
            return frames * self.anyres.pooled**2 + 1
        if _together(among):
            return self.anyres.side**2 + 1
        width, height = image_size(ref)
        return sum(t * h * w for t, h, w in self.anyres.blocks((height, width)))

    def most_frames(self, share: int) -> int:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        return self.visual_tokens // share // self.anyres.pooled**2


def _together(among: Sequence[MediaRef]) -> bool:
    """Whether several images share the prompt: they are not tiled then."""
    return sum(ref.kind == "image" for ref in among) > 1


def _square(image: Image.Image, mean: tuple[float, float, float]) -> Image.Image:
    side = max(image.size)
    page = Image.new("RGB", (side, side), tuple(int(255 * value) for value in mean))
    page.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return page
