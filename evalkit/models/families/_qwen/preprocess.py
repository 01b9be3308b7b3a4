"""Qwen's inputs from a rendered prompt: pixels, patches and expanded tokens, without torch.

They are those of transformers' processors (a test compares them), but frames and sizes follow the paper's
protocol and are recorded, pixels stay bytes, and a worker process starts in well under a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from evalkit.core.types import MediaKind, MediaRef, VisionInput
from evalkit.data.images import Pixels, image_size, load_image, resize, smart_resize
from evalkit.data.media import unreadable
from evalkit.models.preprocess import ChatPreprocessor, ProcessedMedium, media_info_of, no_such_limit

if TYPE_CHECKING:
    from evalkit.models.processor import Processor


@dataclass(frozen=True)
class PixelLimits:
    """How many pixels a medium may have, as the checkpoint's processor says.

    ``video_min`` and ``video_max`` are those of a frame, or (Qwen3-VL) of all frames of a video together.
    ``video_tokens``: where the processor bounds frames by the length of the video
    (``cap_pixels_per_frame``), its ``max_video_tokens``. The cap on visual tokens, shared evenly by the media
    of a request, beats every minimum.
    """

    image_min: int
    image_max: int
    video_min: int
    video_max: int
    video_tokens: int | None = None


@dataclass(frozen=True)
class QwenPreprocessor(ChatPreprocessor):
    """Preprocessor of Qwen2-VL, Qwen2.5-VL and Qwen3-VL.

    ``patch`` and ``temporal_patch`` are the vision tower's patch sizes in pixels and frames,
    ``merge`` the side of the square of patches that becomes one token. ``by_frame`` (Qwen3-VL): every
    temporal patch of a video stands on its own after its timestamp, and the checkpoint's limits for
    videos are those of all frames together.
    """

    limits: PixelLimits = field(kw_only=True)
    patch: int = 14
    merge: int = 2
    temporal_patch: int = 2
    by_frame: bool = False

    placeholders: ClassVar[Mapping[MediaKind, str]] = {
        "image": "<|vision_start|><|image_pad|><|vision_end|>",
        "video": "<|vision_start|><|video_pad|><|vision_end|>",
    }
    pad_tokens: ClassVar[tuple[str, ...]] = ("<|image_pad|>", "<|video_pad|>")
    around: ClassVar[int] = 2
    """Tokens of a placeholder beside the pad token: vision start and end."""
    around_frames: ClassVar[int] = 0
    """Tokens around all frames of a video, where they are apart."""
    stamp: ClassVar[str] = "<10.5 seconds>"
    """A timestamp of usual length."""

    @classmethod
    def from_processor(cls, given: Processor, *, by_frame: bool = False) -> QwenPreprocessor:
        """Preprocess as a checkpoint's processor does.

        Raises:
            EnvironmentProblem: it does what ours doesn't, or was made for another model.
        """
        image = given.known("image", "Qwen2VLImageProcessor")
        video = given.known("video", "Qwen3VLVideoProcessor" if by_frame else "Qwen2VLVideoProcessor")
        tower = given.config.vision_config
        sizes = ("patch_size", "temporal_patch_size")
        for part in (image, video):
            for name in sizes:
                given.agree(f"`{name}`", getattr(part, name), getattr(tower, name))
            given.agree("`merge_size`", part.merge_size, tower.spatial_merge_size)
        if by_frame and dict(video.size) == dict(type(video).size):
            raise given.refusal(
                f"nothing says how many pixels a video has: {video.size['longest_edge']} is the default of "
                "transformers' class, made for one frame and applied to all frames together",
                "copy video_preprocessor_config.json of the base model into the folder",
            )
        capped = getattr(video, "cap_pixels_per_frame", None)
        tokens = int(video.max_video_tokens) if capped else None
        limits = PixelLimits(*pixel_range(given, "image"), *pixel_range(given, "video"), tokens)
        return cls(
            given.tokenizer_file,
            limits=limits,
            patch=int(image.patch_size),
            merge=int(image.merge_size),
            temporal_patch=int(image.temporal_patch_size),
            by_frame=by_frame,
        )

    def with_own_limits(self, limits: Mapping[str, int]) -> Self:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`: those of pixels."""
        pixels = {name.removesuffix("_pixels"): value for name, value in limits.items()}
        unknown = next((name for name in limits if not name.endswith("_pixels")), None)
        if unknown is not None:
            raise no_such_limit(unknown, type(self).__name__)
        found = replace(self.limits, **pixels)
        if "video_max" in pixels:  # it stands for whatever else bounds a video
            found = replace(found, video_tokens=None)
        return replace(self, limits=found)

    @property
    def factor(self) -> int:
        """Pixels along the side of one visual token."""
        return self.patch * self.merge

    def process_image(self, ref: MediaRef, among: Sequence[MediaRef]) -> ProcessedMedium:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        image = load_image(ref)
        size = self._shown_size(ref, image.size, 1, len(among))
        pixels = resize(image, size)
        patches, grid = self.patchify(np.repeat(pixels[None], self.temporal_patch, axis=0))
        vision = VisionInput("image", patches, grid, (self._block(grid),))
        return ProcessedMedium(
            vision, media_info_of(ref, image.size, size, self._tokens(grid)), self.placeholders["image"]
        )

    def process_video(self, ref: MediaRef, among: Sequence[MediaRef]) -> ProcessedMedium:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`."""
        clip = self.clip(ref, self.most_frames(len(among)))
        size = self._shown_size(ref, clip.size, len(clip.chosen.indices), len(among))
        shown = (resize(Image.fromarray(frame), size) for frame in clip.frames)
        patches, grid = self._patches(shown, len(clip.chosen.indices), size)
        info = media_info_of(ref, clip.size, size, self._tokens(grid), clip.chosen)
        if self.by_frame:
            blocks = (self._block((1, *grid[1:])),) * grid[0]
            return ProcessedMedium(
                VisionInput("video", patches, grid, blocks), info, self._stamped(clip.chosen.timestamps)
            )
        seconds = self.temporal_patch / clip.chosen.fps
        vision = VisionInput("video", patches, grid, (self._block(grid),), seconds)
        return ProcessedMedium(vision, info, self.placeholders["video"])

    def _patches(
        self, frames: Iterable[Pixels], count: int, size: tuple[int, int]
    ) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int]]:
        """Patches of ``count`` frames of ``size`` (width, height); only ``temporal_patch`` frames are in
        memory at a time.
        """
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
        if ref.kind == "image":
            width, height = self._shown_size(ref, image_size(ref), 1, len(among))
            return width * height // self.factor**2 + self.around
        frames, size = self.expected_frames(ref, self.most_frames(len(among)))
        width, height = self._shown_size(ref, size, frames, len(among))
        steps = -(-frames // self.temporal_patch)
        visual = width * height // self.factor**2 * steps
        if not self.by_frame:
            return visual + self.around
        return visual + steps * (self.around + len(self.encode(self.stamp))) + self.around_frames

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
        cap = self.visual_tokens * self.factor**2 // share
        try:
            if ref.kind == "image":
                return self._image_size(size, cap)
            steps = -(-frames // self.temporal_patch)
            if not self.by_frame:
                return self._within(size, self.limits.video_min, self._most_of_frame(frames), cap // steps)
            shown = self._shown_together(size, frames, self.limits.video_min, self._most_together(frames))
            if shown[0] * shown[1] * steps <= cap:
                return shown
            return self._within(size, 0, cap // steps, cap // steps)
        except ValueError as error:
            raise unreadable(ref, str(error)) from None

    def _image_size(self, size: tuple[int, int], cap: int) -> tuple[int, int]:
        return self._within(size, self.limits.image_min, self.limits.image_max, cap)

    def _within(self, size: tuple[int, int], low: int, high: int, cap: int) -> tuple[int, int]:
        # One token is the least that can be shown, whatever the cap.
        high = max(min(high, cap), self.factor**2)
        return smart_resize(size, self.factor, min(low, high), high)

    def _most_of_frame(self, frames: int) -> int:
        """The most pixels of a frame: ``Qwen2VLVideoProcessor.resize`` in transformers."""
        limits = self.limits
        if limits.video_tokens is None:
            return limits.video_max
        together = int(limits.video_tokens * self.factor**2 * 0.9)
        share = together * self.temporal_patch // frames
        return max(min(limits.video_max, share), int(limits.video_min * 1.05))

    def _most_together(self, frames: int) -> int:
        """The most pixels of all frames: ``Qwen3VLVideoProcessor.resize`` in transformers."""
        limits = self.limits
        if limits.video_tokens is None:
            return limits.video_max
        each = min(limits.video_tokens * self.factor**2, limits.video_max // frames)
        return max(each, int(limits.video_min * 1.05)) * frames

    def _shown_together(self, size: tuple[int, int], frames: int, low: int, high: int) -> tuple[int, int]:
        """The size of frames that share one budget: ``smart_resize`` of Qwen3-VL's video processor, and of
        GLM-V's processors.
        """
        factor, depth = self.factor, self.temporal_patch
        width, height = size
        if height < factor or width < factor:
            scale = max(factor / height, factor / width)
            width, height = int(width * scale), int(height * scale)
        if max(size) / min(size) > 200:
            raise ValueError("one side is more than 200 times the other")
        # A frame alone, which transformers refuses, stands still for a second one.
        counted = max(round(frames / depth), 1) * depth
        shown = [round(side / factor) * factor for side in (width, height)]
        pixels = counted * shown[0] * shown[1]
        if pixels > high:
            beta = math.sqrt(frames * height * width / high)
            shown = [max(factor, math.floor(side / beta / factor) * factor) for side in (width, height)]
        elif pixels < low:
            beta = math.sqrt(low / (frames * height * width))
            shown = [math.ceil(side * beta / factor) * factor for side in (width, height)]
        return shown[0], shown[1]

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


def pixel_range(given: Processor, kind: MediaKind) -> tuple[int, int]:
    """Smallest and largest number of pixels that a processor says."""
    size = given.part(kind).size
    low, high = size["shortest_edge"], size["longest_edge"]
    if not all(isinstance(each, int) and each > 0 for each in (low, high)):
        raise given.refusal(f"its {kind} processor has no limits of pixels, only size={dict(size)}")
    return low, high
