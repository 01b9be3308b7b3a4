"""PaddleOCR-VL's inputs from a rendered prompt, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from evalkit.core.types import MediaKind
from evalkit.data.images import Pixels
from evalkit.models.families._qwen.preprocess import PixelLimits, QwenPreprocessor, pixel_range

if TYPE_CHECKING:
    from evalkit.models.processor import Processor


@dataclass(frozen=True)
class PaddleOCRPreprocessor(QwenPreprocessor):
    """Images as Qwen2-VL's, but patches in raster order and of one frame, and small images are enlarged."""

    placeholders: ClassVar[Mapping[MediaKind, str]] = {"image": "<|IMAGE_PLACEHOLDER|>"}
    pad_tokens: ClassVar[tuple[str, ...]] = ("<|IMAGE_PLACEHOLDER|>",)
    around: ClassVar[int] = 0  # the start and end tokens are the chat template's

    @classmethod
    def from_processor(cls, given: Processor, *, by_frame: bool = False) -> PaddleOCRPreprocessor:
        """Preprocess as a checkpoint's processor does.

        Raises:
            EnvironmentProblem: it does what ours doesn't, or was made for another model.
        """
        image, tower = given.known("image", "PaddleOCRVLImageProcessor"), given.config.vision_config
        given.agree("`patch_size`", image.patch_size, tower.patch_size)
        given.agree("`merge_size`", image.merge_size, tower.spatial_merge_size)
        given.agree("`temporal_patch_size`", image.temporal_patch_size, 1)
        low, high = pixel_range(given, "image")
        return cls(
            given.tokenizer_file,
            limits=PixelLimits(low, high, low, high),
            patch=int(image.patch_size),
            merge=int(image.merge_size),
            temporal_patch=1,
        )

    def patchify(self, frames: Pixels) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int]]:
        """Cut images ``[T, H, W, 3]`` into patches ``[t*h*w, 3 * patch * patch]``, row by row."""
        count, height, width, channels = frames.shape
        grid = (count, height // self.patch, width // self.patch)
        cut = frames.reshape(count, grid[1], self.patch, grid[2], self.patch, channels)
        return cut.transpose(0, 1, 3, 5, 2, 4).reshape(count * grid[1] * grid[2], -1), grid

    def _within(self, size: tuple[int, int], low: int, high: int, cap: int) -> tuple[int, int]:
        """As transformers' ``smart_resize`` for PaddleOCR-VL: shorter sides than a token are enlarged."""
        width, height = size
        if height < self.factor:
            width, height = round(width * self.factor / height), self.factor
        if width < self.factor:
            width, height = self.factor, round(height * self.factor / width)
        return super()._within((width, height), low, high, cap)
