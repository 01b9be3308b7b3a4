"""Qwen's inputs from a rendered prompt: pixels, patches and expanded tokens, without torch.

It gives what transformers' processors give (a test compares them), but it chooses frames and sizes
by the paper's protocol, stores what it chose, keeps pixels as bytes, and starts in a worker process
in well under a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from evalkit.data.images import Pixels, image_size, load_image, resize, smart_resize
from evalkit.data.media import unreadable
from evalkit.models.preprocess import (
    ChatPreprocessor,
    Shown,
    image_settings,
    info_of,
    tokenizer_file,
    video_settings,
)
from evalkit.types import MediaKind, MediaRef, VisionInput


@dataclass(frozen=True)
class PixelLimits:
    """How many pixels a medium is shown with.

    Images: the checkpoint's own limits. Video frames: the checkpoint's, else ``qwen-vl-utils``'s
    (128 to 768 tokens a frame). The cap on visual tokens, shared evenly by the media of a request, beats
    every minimum.
    """

    image_min: int = 4 * 28 * 28
    image_max: int = 16384 * 28 * 28
    frame_min: int = 128 * 28 * 28
    frame_max: int = 768 * 28 * 28


@dataclass(frozen=True)
class QwenPreprocessor(ChatPreprocessor):
    """Preprocessor of Qwen2-VL, Qwen2.5-VL and Qwen3-VL.

    ``patch`` and ``temporal_patch`` are the vision tower's patch sizes in pixels and frames,
    ``merge`` the side of the square of patches that becomes one token. ``by_frame`` (Qwen3-VL): every
    temporal patch of a video stands on its own after its timestamp, and the checkpoint's limits for
    videos are those of all frames together.
    """

    patch: int = 14
    merge: int = 2
    temporal_patch: int = 2
    limits: PixelLimits = field(default_factory=PixelLimits)
    by_frame: bool = False

    placeholders: ClassVar[Mapping[MediaKind, str]] = {
        "image": "<|vision_start|><|image_pad|><|vision_end|>",
        "video": "<|vision_start|><|video_pad|><|vision_end|>",
    }
    pads: ClassVar[tuple[str, ...]] = ("<|image_pad|>", "<|video_pad|>")

    @classmethod
    def from_folder(
        cls, folder: Path, pixels: Path | None = None, *, by_frame: bool = False
    ) -> QwenPreprocessor:
        """Read a checkpoint's processor configuration; ``pixels`` is its folder, if not the tokenizer's.

        Raises:
            EnvironmentProblem: a file is missing or unreadable.
        """
        image = image_settings(pixels or folder)
        video = video_settings(pixels or folder)
        patch, merge = int(image.get("patch_size", 14)), int(image.get("merge_size", 2))
        token = (patch * merge) ** 2
        image_min, image_max = _pixel_range(image, (4 * token, 16384 * token))
        frame_min, frame_max = _pixel_range(video, (128 * token, 768 * token))
        return cls(
            tokenizer_file(folder),
            patch=patch,
            merge=merge,
            temporal_patch=int(image.get("temporal_patch_size", 2)),
            limits=PixelLimits(image_min, image_max, frame_min, frame_max),
            by_frame=by_frame,
        )

    @property
    def factor(self) -> int:
        """Pixels along the side of one visual token."""
        return self.patch * self.merge

    def show_image(self, ref: MediaRef, among: Sequence[MediaRef]) -> Shown:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        image = load_image(ref)
        size = self._shown_size(ref, image.size, 1, len(among))
        pixels = resize(image, size)
        patches, grid = self.patchify(np.repeat(pixels[None], self.temporal_patch, axis=0))
        vision = VisionInput("image", patches, grid, (self._block(grid),))
        return Shown(vision, info_of(ref, image.size, size, self._tokens(grid)), self.placeholders["image"])

    def show_video(self, ref: MediaRef, among: Sequence[MediaRef]) -> Shown:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        clip = self.clip(ref, self.most_frames(len(among)))
        size = self._shown_size(ref, clip.size, len(clip.chosen.indices), len(among))
        shown = (resize(Image.fromarray(frame), size) for frame in clip.frames)
        patches, grid = self._patches(shown, len(clip.chosen.indices), size)
        info = info_of(ref, clip.size, size, self._tokens(grid), clip.chosen)
        if self.by_frame:
            blocks = (self._block((1, *grid[1:])),) * grid[0]
            return Shown(
                VisionInput("video", patches, grid, blocks), info, self._stamped(clip.chosen.timestamps)
            )
        seconds = self.temporal_patch / clip.chosen.fps
        vision = VisionInput("video", patches, grid, (self._block(grid),), seconds)
        return Shown(vision, info, self.placeholders["video"])

    def _patches(
        self, frames: Iterable[Pixels], count: int, size: tuple[int, int]
    ) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int]]:
        """Patches of ``count`` frames of ``size`` (width, height), which never lie in memory all together."""
        depth = self.temporal_patch
        grid = (-(-count // depth), size[1] // self.patch, size[0] // self.patch)
        step = grid[1] * grid[2]
        patches = np.empty((grid[0] * step, 3 * depth * self.patch**2), np.uint8)
        waiting = iter(frames)
        for number in range(grid[0]):
            group = list(islice(waiting, depth))
            # The tower takes frames in groups of `temporal_patch`: the last frame stands still.
            group += [group[-1]] * (depth - len(group))
            patches[number * step : (number + 1) * step] = self.patchify(np.stack(group))[0]
        return patches, grid

    def estimate_medium(self, ref: MediaRef, among: Sequence[MediaRef]) -> int:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        around = 2  # vision start and vision end
        if ref.kind == "image":
            width, height = self._shown_size(ref, image_size(ref), 1, len(among))
            return width * height // self.factor**2 + around
        frames, size = self.expected_frames(ref, self.most_frames(len(among)))
        width, height = self._shown_size(ref, size, frames, len(among))
        steps = -(-frames // self.temporal_patch)
        visual = width * height // self.factor**2 * steps
        stamp = len(self.encode("<10.5 seconds>")) if self.by_frame else 0
        return visual + (steps * (around + stamp) if self.by_frame else around)

    def _stamped(self, timestamps: tuple[float, ...]) -> str:
        """A placeholder for every temporal patch after the mean time of its first and last frame.

        They take the whole placeholder's place, as in Qwen's own code and transformers 4.57, which the
        models were trained with; transformers 5.17 to 5.24 leave a second start and end token around them.
        """
        depth = self.temporal_patch
        times = [*timestamps, *[timestamps[-1]] * (-len(timestamps) % depth)]
        stamps = [(times[i] + times[i + depth - 1]) / 2 for i in range(0, len(times), depth)]
        return "".join(f"<{stamp:.1f} seconds>{self.placeholders['video']}" for stamp in stamps)

    def _shown_size(self, ref: MediaRef, size: tuple[int, int], frames: int, share: int) -> tuple[int, int]:
        """Pixels ``(width, height)`` of an image, or of each of so many frames."""
        limits = self.limits
        low, high = limits.image_min, limits.image_max
        cap = self.visual_tokens * self.factor**2 // share
        if ref.kind == "video":
            low, high = limits.frame_min, limits.frame_max
            padded = frames + -frames % self.temporal_patch
            if self.by_frame:
                low, high = low // padded, high // padded
            cap = cap * self.temporal_patch // padded
        # One token is the least that can be shown, whatever the cap.
        high = max(min(high, cap), self.factor**2)
        try:
            return smart_resize(size, self.factor, min(low, high), high)
        except ValueError as error:
            raise unreadable(ref, str(error)) from None

    def _block(self, grid: tuple[int, int, int]) -> tuple[int, int, int]:
        frames, height, width = grid
        return frames, height // self.merge, width // self.merge

    def _tokens(self, grid: tuple[int, int, int]) -> int:
        frames, height, width = self._block(grid)
        return frames * height * width

    def patchify(self, frames: Pixels) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int]]:
        """Cut frames ``[T, H, W, 3]`` into patches in the order of Qwen's vision tower.

        Returns:
            uint8 ``[t*h*w, 3 * temporal_patch * patch * patch]`` and the grid ``(t, h, w)`` in
            patches. The four patches of a token follow one another (``Qwen2VLImageProcessor``).
        """
        count, height, width, channels = frames.shape
        side, merge, depth = self.patch, self.merge, self.temporal_patch
        grid = (count // depth, height // side, width // side)
        cut = frames.reshape(
            grid[0], depth, grid[1] // merge, merge, side, grid[2] // merge, merge, side, channels
        )
        ordered = cut.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
        return ordered.reshape(grid[0] * grid[1] * grid[2], -1), grid


def _pixel_range(config: Mapping[str, Any], usual: tuple[int, int]) -> tuple[int, int]:
    """Smallest and largest number of pixels, in the old spelling or the new one."""
    size = config.get("size") or {}
    low = config.get("min_pixels") or size.get("shortest_edge") or usual[0]
    high = config.get("max_pixels") or size.get("longest_edge") or usual[1]
    return int(low), int(high)
