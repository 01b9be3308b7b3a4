"""InternVL's inputs from a rendered prompt, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from PIL import Image

from evalkit.core.types import MediaKind, MediaRef, VisionInput
from evalkit.data.images import image_size, load_image, resize
from evalkit.models.families.internvl.layout import first, tile_side
from evalkit.models.preprocess import ChatPreprocessor, ProcessedMedium, media_info_of, no_such_limit
from evalkit.models.tiles import split_tiles
from evalkit.rope.layout import Grid

if TYPE_CHECKING:
    from evalkit.models.processor import Processor


@dataclass(frozen=True)
class InternVLPreprocessor(ChatPreprocessor):
    """An image becomes ``least`` to ``most`` tiles of ``tile`` pixels and ``side`` tokens a side, and a
    thumbnail after them if there are several; a frame of a video becomes one tile.

    Every tile is a visual block, as for ``get_rope_index`` of an installed variant (``layout`` says so in
    identities). Tiles and frames are limited so that a request stays within its visual tokens.
    """

    tile: int = field(kw_only=True)
    side: int = field(kw_only=True)
    least: int = field(kw_only=True)
    most: int = field(kw_only=True)
    layout: Literal["blocks"] = "blocks"

    placeholders: ClassVar[Mapping[MediaKind, str]] = {"image": "<IMG_CONTEXT>", "video": "<video>"}
    pad_tokens: ClassVar[tuple[str, ...]] = ("<IMG_CONTEXT>",)

    @classmethod
    def from_processor(cls, given: Processor) -> InternVLPreprocessor:
        """Preprocess as a checkpoint's processor does.

        Raises:
            EnvironmentProblem: it does what ours doesn't, or was made for another model.
        """
        image = given.known("image", "GotOcr2ImageProcessor")
        given.known("video", "InternVLVideoProcessor")
        tile, own, tower = given.side("image"), given.own, given.config.vision_config
        side = tile_side(given.config)
        given.agree("the size of tiles", tile, first(tower.image_size))
        given.agree("the size of frames", given.side("video"), tile)
        given.agree("the number of tokens of a tile", own.image_seq_length, side**2)
        found = (own.start_image_token, own.image_token, own.end_image_token, own.video_token)
        if found != ("<img>", cls.pad_tokens[0], "</img>", cls.placeholders["video"]):
            raise given.refusal(f"its tokens of images and videos are {', '.join(map(str, found))}")
        return cls(
            given.tokenizer_file,
            tile=tile,
            side=side,
            # transformers' processor splits images into tiles whatever `crop_to_patches` says.
            least=int(image.min_patches),
            most=int(image.max_patches),
        )

    def with_own_limits(self, limits: Mapping[str, int]) -> Self:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`: that of tiles."""
        unknown = next((name for name in limits if name != "max_tiles"), None)
        if unknown is not None:
            raise no_such_limit(unknown, type(self).__name__)
        return replace(self, most=limits["max_tiles"], least=min(self.least, limits["max_tiles"]))

    def process_image(self, ref: MediaRef, among: Sequence[MediaRef]) -> ProcessedMedium:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        image, tile = load_image(ref), self.tile
        columns, rows = self.arrangement(image.size, len(among))
        tiles = split_tiles(resize(image, (columns * tile, rows * tile)), tile)
        if len(tiles) > 1:
            tiles = np.concatenate([tiles, split_tiles(resize(image, (tile, tile)), tile)])
        tokens = len(tiles) * self.side**2
        info = media_info_of(ref, image.size, (columns * tile, rows * tile), tokens)
        vision = VisionInput("image", tiles, (len(tiles), rows, columns), self._blocks(len(tiles)))
        return ProcessedMedium(vision, info, f"<img>{self.pad_tokens[0]}</img>")

    def process_video(self, ref: MediaRef, among: Sequence[MediaRef]) -> ProcessedMedium:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        tile = self.tile
        clip = self.clip(ref, self.most_frames(len(among)))
        frames = [split_tiles(resize(Image.fromarray(frame), (tile, tile)), tile) for frame in clip.frames]
        info = media_info_of(ref, clip.size, (tile, tile), len(frames) * self.side**2, clip.chosen)
        text = "\n".join(
            f"Frame{number + 1}: <img>{self.pad_tokens[0]}</img>" for number in range(len(frames))
        )
        vision = VisionInput("video", np.concatenate(frames), (len(frames), 1, 1), self._blocks(len(frames)))
        return ProcessedMedium(vision, info, text)

    def estimate_medium(self, ref: MediaRef, among: Sequence[MediaRef]) -> int:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        if ref.kind == "video":
            frames, _ = self.expected_frames(ref, self.most_frames(len(among)))
            return frames * (self.side**2 + len(self.encode("Frame10: <img></img>\n")))
        columns, rows = self.arrangement(image_size(ref), len(among))
        tiles = columns * rows + (columns * rows > 1)
        return tiles * self.side**2 + 2  # <img> and </img>

    def arrangement(self, size: tuple[int, int], share: int) -> tuple[int, int]:
        """Columns and rows of tiles whose shape is nearest to the image's, ``size`` being its (width,
        height); of equally near ones the last that is less than twice as large as the image.
        """
        width, height = size
        most = max(self.least, min(self.most, self._most_tiles(share) - 1))
        sides = range(1, most + 1)
        known = [(c, r) for c in sides for r in sides if self.least <= c * r <= most]
        best, nearest = (1, 1), float("inf")
        for columns, rows in sorted(known, key=lambda grid: grid[0] * grid[1]):
            distance = abs(width / height - columns / rows)
            small = width * height > 0.5 * self.tile**2 * columns * rows
            if distance < nearest or (distance == nearest and small):
                best, nearest = (columns, rows), distance
        return best

    def _blocks(self, tiles: int) -> tuple[Grid, ...]:
        return ((1, self.side, self.side),) * tiles

    def most_frames(self, share: int) -> int:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`: each is a tile."""
        return self._most_tiles(share)

    def _most_tiles(self, share: int) -> int:
        return self.visual_tokens // share // self.side**2
