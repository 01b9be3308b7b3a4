"""InternVL's inputs from a rendered prompt, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

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
from evalkit.types import MediaKind, MediaRef, VisionInput

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class InternVLPreprocessor(ChatPreprocessor):
    """An image becomes ``least`` to ``most`` tiles of ``tile`` pixels and ``side`` tokens, and a
    thumbnail after them if they are several; a frame of a video one tile.

    ``layout``: ``blocks`` places every tile on its own, as ``get_rope_index`` of an installed variant
    does too; ``mosaic`` places the tiles of an image as one picture and the thumbnail after it. Tiles
    and frames are limited so that a request stays within the paper's cap on visual tokens.
    """

    tile: int = 448
    side: int = 16
    least: int = 1
    most: int = 12
    layout: Literal["blocks", "mosaic"] = "blocks"

    placeholders: ClassVar[Mapping[MediaKind, str]] = {"image": "<IMG_CONTEXT>", "video": "<video>"}
    pads: ClassVar[tuple[str, ...]] = ("<IMG_CONTEXT>",)

    @classmethod
    def from_folder(cls, folder: Path, pixels: Path | None = None) -> InternVLPreprocessor:
        """Read a checkpoint folder's configuration; ``pixels`` is the folder of its processor's, if another.

        Raises:
            EnvironmentProblem: a file is missing or unreadable.
        """
        config = read_settings(folder / "config.json", required=True)
        image = image_settings(pixels or folder)
        vision = config["vision_config"]
        tile, patch = _number(vision.get("image_size", 448)), _number(vision.get("patch_size", 14))
        return cls(
            tokenizer_file(folder),
            tile=tile,
            side=int(tile // patch * config.get("downsample_ratio", 0.5)),
            least=int(image.get("min_patches", 1)),
            most=int(image.get("max_patches", 12)),
        )

    def show_image(self, ref: MediaRef, among: Sequence[MediaRef]) -> Shown:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        image, tile = load_image(ref), self.tile
        columns, rows = self.arrangement(image.size, len(among))
        tiles = cut(resize(image, (columns * tile, rows * tile)), tile)
        if len(tiles) > 1:
            tiles = np.concatenate([tiles, cut(resize(image, (tile, tile)), tile)])
        tokens = len(tiles) * self.side**2
        info = info_of(ref, image.size, (columns * tile, rows * tile), tokens)
        blocks, order = self._blocks(len(tiles), rows, columns)
        vision = VisionInput("image", tiles, (len(tiles), rows, columns), blocks, tile=order)
        return Shown(vision, info, f"<img>{self.pads[0]}</img>")

    def show_video(self, ref: MediaRef, among: Sequence[MediaRef]) -> Shown:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        tile = self.tile
        clip = self.clip(ref, self.most_frames(len(among)))
        frames = [cut(resize(Image.fromarray(frame), (tile, tile)), tile) for frame in clip.frames]
        info = info_of(ref, clip.size, (tile, tile), len(frames) * self.side**2, clip.chosen)
        blocks = ((1, self.side, self.side),) * len(frames)
        text = "\n".join(f"Frame{number + 1}: <img>{self.pads[0]}</img>" for number in range(len(frames)))
        return Shown(VisionInput("video", np.concatenate(frames), (len(frames), 1, 1), blocks), info, text)

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

    def _blocks(self, tiles: int, rows: int, columns: int) -> tuple[tuple[Grid, ...], tuple[int, int] | None]:
        side = self.side
        if self.layout == "blocks" or tiles == 1:
            return ((1, side, side),) * tiles, None
        return ((1, rows * side, columns * side), (1, side, side)), (side, side)

    def most_frames(self, share: int) -> int:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`: each is a tile."""
        return self._most_tiles(share)

    def _most_tiles(self, share: int) -> int:
        return self.visual_tokens // share // self.side**2


def _number(value: Any) -> int:
    """Sizes are written as a number or as two equal ones."""
    return int(value[0] if isinstance(value, (list, tuple)) else value)
