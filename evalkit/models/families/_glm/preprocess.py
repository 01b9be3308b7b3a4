"""GLM-V's inputs from a rendered prompt, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from evalkit.core.types import MediaKind
from evalkit.models.families._qwen.preprocess import PixelLimits, QwenPreprocessor, pixel_range

if TYPE_CHECKING:
    from evalkit.models.processor import Processor


@dataclass(frozen=True)
class GlmPreprocessor(QwenPreprocessor):
    """Patches as Qwen's. A frame is written as an image, and the time of its first half follows it; an
    image's limits are those of the ``temporal_patch`` frames that it stands still for.
    """

    placeholders: ClassVar[Mapping[MediaKind, str]] = {
        "image": "<|begin_of_image|><|image|><|end_of_image|>",
        "video": "<|begin_of_video|><|video|><|end_of_video|>",
    }
    pad_tokens: ClassVar[tuple[str, ...]] = ("<|image|>", "<|video|>")
    around_frames: ClassVar[int] = 2
    stamp: ClassVar[str] = "10"
    name: ClassVar[str] = "Glm4v"

    @classmethod
    def from_processor(cls, given: Processor, *, by_frame: bool = True) -> GlmPreprocessor:
        """Preprocess as a checkpoint's processor does.

        Raises:
            EnvironmentProblem: it does what ours doesn't, or was made for another model.
        """
        image = given.known("image", f"{cls.name}ImageProcessor")
        video = given.known("video", f"{cls.name}VideoProcessor")
        tower = given.config.vision_config
        for part in (image, video):
            for name in ("patch_size", "temporal_patch_size"):
                given.agree(f"`{name}`", getattr(part, name), getattr(tower, name))
            given.agree("`merge_size`", part.merge_size, tower.spatial_merge_size)
        return cls(
            given.tokenizer_file,
            limits=PixelLimits(*pixel_range(given, "image"), *pixel_range(given, "video")),
            patch=int(image.patch_size),
            merge=int(image.merge_size),
            temporal_patch=int(image.temporal_patch_size),
            by_frame=True,
        )

    def with_own_limits(self, limits: Mapping[str, int]) -> Self:
        """See :class:`~evalkit.models.preprocess.ChatPreprocessor`: an image is counted once."""
        stands_still = {"image_min_pixels", "image_max_pixels"}
        return super().with_own_limits(
            {
                name: value * (self.temporal_patch if name in stands_still else 1)
                for name, value in limits.items()
            }
        )

    def _image_size(self, size: tuple[int, int], cap: int) -> tuple[int, int]:
        limits = self.limits
        shown = self._shown_together(size, self.temporal_patch, limits.image_min, limits.image_max)
        return shown if shown[0] * shown[1] <= cap else self._within(size, 0, cap, cap)

    def _stamped(self, timestamps: tuple[float, ...]) -> str:
        """The frames of a video, each followed by the time of the first of its temporal patch."""
        times = timestamps[:: self.temporal_patch]
        frames = "".join(f"{self.placeholders['image']}{self._time(time)}" for time in times)
        return f"<|begin_of_video|>{frames}<|end_of_video|>"

    def _time(self, seconds: float) -> str:
        return str(int(seconds))


@dataclass(frozen=True)
class Glm46VPreprocessor(GlmPreprocessor):
    """As GLM-4.1V's, with times to the tenth of a second."""

    stamp: ClassVar[str] = "10.5 seconds"
    name: ClassVar[str] = "Glm46V"

    def _time(self, seconds: float) -> str:
        return f"{seconds:.1f} seconds"
