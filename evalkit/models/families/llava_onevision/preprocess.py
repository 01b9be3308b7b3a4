"""LLaVA-OneVision's inputs from a rendered prompt, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

from evalkit.core.types import MediaKind, MediaRef, VisionInput
from evalkit.data.images import image_size, load_image, resize
from evalkit.models.families.llava_onevision.layout import Anyres
from evalkit.models.preprocess import ChatPreprocessor, ProcessedMedium, media_info_of
from evalkit.models.tiles import split_tiles

if TYPE_CHECKING:
    from evalkit.models.processor import Processor


@dataclass(frozen=True)
class LlavaPreprocessor(ChatPreprocessor):
    """An image alone in its prompt becomes a base image and tiles (anyres), several become a square each,
    padded with the mean colour; frames of a video become squares, which the model pools to
    ``anyres.frame_side`` tokens a side. Frames are limited so that a request stays within its visual tokens.
    """

    anyres: Anyres = field(kw_only=True)
    mean: tuple[float, float, float] = field(kw_only=True)

    placeholders: ClassVar[Mapping[MediaKind, str]] = {"image": "<image>", "video": "<video>"}
    pad_tokens: ClassVar[tuple[str, ...]] = ("<image>", "<video>")

    @classmethod
    def from_processor(cls, given: Processor) -> LlavaPreprocessor:
        """Preprocess as a checkpoint's processor does.

        Raises:
            EnvironmentProblem: it does what ours doesn't, or was made for another model.
        """
        image = given.known("image", "LlavaOnevisionImageProcessor")
        given.known("video", "LlavaOnevisionVideoProcessor")
        tile, tower, own = given.side("image"), given.config.vision_config, given.own
        side = int(tower.image_size) // int(tower.patch_size)
        canvases = [[int(each) for each in canvas] for canvas in image.image_grid_pinpoints]
        given.agree("the size of tiles", tile, int(tower.image_size))
        given.agree("the size of frames", given.side("video"), tile)
        cut_to = [list(each) for each in given.config.image_grid_pinpoints]
        given.agree("`image_grid_pinpoints`", canvases, cut_to)
        given.agree("`vision_aspect_ratio`", own.vision_aspect_ratio, given.config.vision_aspect_ratio)
        given.agree("the number of tokens of a tile", own.num_image_tokens, side**2)
        strategy = given.config.vision_feature_select_strategy
        given.agree("`vision_feature_select_strategy`", own.vision_feature_select_strategy, strategy)
        most = int(str(own.vision_aspect_ratio).removeprefix("anyres_max_"))
        anyres = Anyres(tuple((height, width) for height, width in canvases), tile, side, most)
        return cls(given.tokenizer_file, anyres=anyres, mean=given.normalise["image"].mean)

    def process_image(self, ref: MediaRef, among: Sequence[MediaRef]) -> ProcessedMedium:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        image, side, tile = load_image(ref), self.anyres.side, self.anyres.tile
        size = (image.height, image.width)
        if _together(among):
            tiles = split_tiles(resize(_square(image, self.mean), (tile, tile)), tile)
            vision = VisionInput("image", tiles, (1, *size), ((1, side, side),))
            info = media_info_of(ref, image.size, (tile, tile), side**2)
            return ProcessedMedium(vision, info, self.placeholders["image"], separators=1)
        blocks = self.anyres.blocks(size)
        canvas = self.anyres.canvas(size)
        fitted = resize(image, self.anyres.fitted(size)[::-1])
        page = np.zeros((*canvas, 3), np.uint8)
        top, left = ((outer - inner) // 2 for outer, inner in zip(canvas, fitted.shape[:2], strict=True))
        page[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
        tiles = np.concatenate([split_tiles(resize(image, (tile, tile)), tile), split_tiles(page, tile)])
        tokens = sum(t * h * w for t, h, w in blocks)
        info = media_info_of(ref, image.size, canvas[::-1], tokens)
        return ProcessedMedium(
            VisionInput("image", tiles, (1, *size), blocks), info, self.placeholders["image"]
        )

    def process_video(self, ref: MediaRef, among: Sequence[MediaRef]) -> ProcessedMedium:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        tile, side = self.anyres.tile, self.anyres.frame_side
        clip = self.clip(ref, self.most_frames(len(among)))
        frames = [split_tiles(resize(Image.fromarray(frame), (tile, tile)), tile) for frame in clip.frames]
        block = (len(frames), side, side)
        info = media_info_of(ref, clip.size, (tile, tile), len(frames) * side**2, clip.chosen)
        vision = VisionInput("video", np.concatenate(frames), block, (block,))
        return ProcessedMedium(vision, info, self.placeholders["video"], separators=1)

    def estimate_medium(self, ref: MediaRef, among: Sequence[MediaRef]) -> int:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        if ref.kind == "video":
            frames, _ = self.expected_frames(ref, self.most_frames(len(among)))
            return frames * self.anyres.frame_side**2 + 1
        if _together(among):
            return self.anyres.side**2 + 1
        width, height = image_size(ref)
        return sum(t * h * w for t, h, w in self.anyres.blocks((height, width)))

    def most_frames(self, share: int) -> int:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        return self.visual_tokens // share // self.anyres.frame_side**2


def _together(among: Sequence[MediaRef]) -> bool:
    """Whether the prompt has several images, which are not tiled then."""
    return sum(ref.kind == "image" for ref in among) > 1


def _square(image: Image.Image, mean: tuple[float, float, float]) -> Image.Image:
    side = max(image.size)
    page = Image.new("RGB", (side, side), tuple(int(255 * value) for value in mean))
    page.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return page
