"""Qwen2.5-VL's inputs from a rendered prompt: pixels, patches and expanded tokens, without torch.

It gives what transformers' processor gives (a test compares them), but it chooses frames and sizes
by the paper's protocol, stores what it chose, keeps pixels as bytes, and starts in a worker process
in well under a second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evalkit.data.images import Pixels, image_size, load_image, resize, smart_resize
from evalkit.data.media import media_digest, unreadable
from evalkit.data.sampling import FrameRule, Frames, choose_frames, expected_count
from evalkit.data.video import open_reader, probe
from evalkit.data.video.probe import opened
from evalkit.errors import EnvironmentProblem, MediaError
from evalkit.types import MediaInfo, MediaRef, Prepared, Request, VisionInput

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKEN_TYPES = {"image": 1, "video": 2}


@dataclass(frozen=True)
class PixelLimits:
    """How many pixels a medium is shown with, and all media of a request together.

    Images: the checkpoint's own limits. Video frames: the checkpoint's, else ``qwen-vl-utils``'s
    (128 to 768 tokens a frame). ``total``: the paper's cap of 24k visual tokens (arXiv 2510.23095,
    section 3.1), shared evenly by the media of a request; it beats every minimum.
    """

    image_min: int = 4 * 28 * 28
    image_max: int = 16384 * 28 * 28
    frame_min: int = 128 * 28 * 28
    frame_max: int = 768 * 28 * 28
    total: int = 24576 * 28 * 28


@dataclass(frozen=True)
class QwenPreprocessor:
    """Turns requests into :class:`Prepared`; small, frozen and picklable.

    ``patch`` and ``temporal_patch`` are the vision tower's patch sizes in pixels and frames,
    ``merge`` the side of the square of patches that becomes one token.
    """

    tokenizer_file: str
    patch: int = 14
    merge: int = 2
    temporal_patch: int = 2
    limits: PixelLimits = field(default_factory=PixelLimits)
    frames: FrameRule = field(default_factory=FrameRule)
    video_backend: str = "pyav"

    @classmethod
    def from_folder(cls, folder: Path) -> QwenPreprocessor:
        """Read a checkpoint folder's processor configuration.

        Raises:
            EnvironmentProblem: a file is missing or unreadable.
        """
        image = _read(folder / "preprocessor_config.json", required=True)
        video = _read(folder / "video_preprocessor_config.json", required=False)
        if not (folder / "tokenizer.json").is_file():
            raise EnvironmentProblem(
                f"`{folder}` has no tokenizer.json",
                "prompts are tokenized with the `tokenizers` library",
                "save the tokenizer with `AutoTokenizer.from_pretrained(...).save_pretrained(folder)`",
            )
        usual = PixelLimits()
        image_min, image_max = _pixel_range(image, (usual.image_min, usual.image_max))
        frame_min, frame_max = _pixel_range(video, (usual.frame_min, usual.frame_max))
        return cls(
            str(folder / "tokenizer.json"),
            patch=int(image.get("patch_size", 14)),
            merge=int(image.get("merge_size", 2)),
            temporal_patch=int(image.get("temporal_patch_size", 2)),
            limits=PixelLimits(image_min, image_max, frame_min, frame_max, usual.total),
        )

    @property
    def factor(self) -> int:
        """Pixels along the side of one visual token."""
        return self.patch * self.merge

    def estimate(self, request: Request) -> int:
        """See :class:`evalkit.models.base.Preprocessor`. Exact for images and for videos whose header
        states a constant frame rate and the number of frames; a medium that can't be read counts 1.
        """
        tokens = len(self._encode(request.prompt))
        for ref in request.media:
            try:
                # The prompt's own placeholder is one of them.
                tokens += self._estimate_medium(ref, len(request.media)) - 1
            except MediaError:
                continue
        return tokens

    def prepare(self, request: Request) -> Prepared:
        """See :class:`evalkit.models.base.Preprocessor`."""
        began = time.perf_counter()
        shown = [self._medium(ref, len(request.media)) for ref in request.media]
        ids, types = self._expand(self._encode(request.prompt), request, [info for _, info in shown])
        return Prepared(
            key=request.key,
            input_ids=ids,
            token_types=types,
            vision=tuple(vision for vision, _ in shown),
            max_new_tokens=request.max_new_tokens,
            media=tuple(info for _, info in shown),
            seconds=time.perf_counter() - began,
        )

    def _encode(self, prompt: str) -> list[int]:
        ids: list[int] = _tokenizer(self.tokenizer_file).encode(prompt, add_special_tokens=False).ids
        return ids

    def _expand(
        self, ids: Sequence[int], request: Request, media: Sequence[MediaInfo]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Repeat every placeholder as often as its medium has tokens."""
        tokenizer = _tokenizer(self.tokenizer_file)
        pads = {tokenizer.token_to_id(f"<|{kind}_pad|>"): kind for kind in TOKEN_TYPES}
        found = [pads[token] for token in ids if token in pads]
        if found != [medium.kind for medium in media]:
            raise MediaError(
                f"the prompt of sample `{request.sample_id}` doesn't fit its media",
                f"it has places for {found}, and there are {[medium.kind for medium in media]}",
                "this is a mistake in the task's prompt or in the chat template",
            )
        rest = iter(media)
        counts = np.array([next(rest).tokens if token in pads else 1 for token in ids], np.int64)
        types = np.array([TOKEN_TYPES[pads[token]] if token in pads else 0 for token in ids], np.uint8)
        return np.repeat(np.asarray(ids, np.int64), counts), np.repeat(types, counts)

    def _medium(self, ref: MediaRef, share: int) -> tuple[VisionInput, MediaInfo]:
        return self._image(ref, share) if ref.kind == "image" else self._video(ref, share)

    def _image(self, ref: MediaRef, share: int) -> tuple[VisionInput, MediaInfo]:
        image = load_image(ref)
        size = self._shown_size(ref, image.size, 1, share)
        pixels = resize(image, size)
        patches, grid = self.patchify(np.repeat(pixels[None], self.temporal_patch, axis=0))
        info = MediaInfo("image", media_digest(ref), image.size, size, self._tokens(grid))
        return VisionInput("image", patches, grid), info

    def _video(self, ref: MediaRef, share: int) -> tuple[VisionInput, MediaInfo]:
        from PIL import Image

        path = _file(ref)
        known = probe(path)
        chosen = self._choose(ref, known.timestamps)
        size = self._shown_size(ref, (known.width, known.height), len(chosen.indices), share)
        frames = open_reader(self.video_backend).read(path, known, chosen.indices)
        shown = [resize(Image.fromarray(frame), size) for frame in frames]
        # The tower takes frames in groups of `temporal_patch`: the last frame stands still.
        shown += [shown[-1]] * (-len(shown) % self.temporal_patch)
        patches, grid = self.patchify(np.stack(shown))
        info = MediaInfo(
            "video",
            media_digest(ref),
            (known.width, known.height),
            size,
            self._tokens(grid),
            chosen.indices,
            chosen.timestamps,
        )
        return VisionInput("video", patches, grid, self.temporal_patch / chosen.fps), info

    def _choose(self, ref: MediaRef, timestamps: Sequence[float]) -> Frames:
        try:
            return choose_frames(timestamps, self.frames, ref.start, ref.end)
        except ValueError as error:
            raise unreadable(ref, str(error)) from None

    def _shown_size(self, ref: MediaRef, size: tuple[int, int], frames: int, share: int) -> tuple[int, int]:
        """Pixels ``(width, height)`` of an image, or of each of so many frames."""
        limits = self.limits
        low, high = limits.image_min, limits.image_max
        cap = limits.total // share
        if ref.kind == "video":
            low, high = limits.frame_min, limits.frame_max
            cap = cap * self.temporal_patch // (frames + -frames % self.temporal_patch)
        # One token is the least that can be shown, whatever the cap.
        high = max(min(high, cap), self.factor**2)
        try:
            return smart_resize(size, self.factor, min(low, high), high)
        except ValueError as error:
            raise unreadable(ref, str(error)) from None

    def _estimate_medium(self, ref: MediaRef, share: int) -> int:
        if ref.kind == "image":
            width, height = self._shown_size(ref, image_size(ref), 1, share)
            return width * height // self.factor**2
        known = _header(_file(ref))
        end = known.seconds if ref.end is None else min(known.seconds, ref.end)
        seconds = max(0.0, end - (ref.start or 0.0))
        frames = expected_count(seconds, max(1, round(seconds * known.rate)), self.frames)
        width, height = self._shown_size(ref, known.size, frames, share)
        return width * height // self.factor**2 * -(-frames // self.temporal_patch)

    def _tokens(self, grid: tuple[int, int, int]) -> int:
        frames, height, width = grid
        return frames * height * width // self.merge**2

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


def neutralise(text: str, specials: Iterable[str]) -> str:
    """Break up special tokens that occur in a question's own text, so that they stay text.

    >>> neutralise("what is <|image_pad|>?", ["<|image_pad|>"])
    'what is < |image_pad|>?'
    """
    for special in specials:
        text = text.replace(special, f"{special[:1]} {special[1:]}")
    return text


def _file(ref: MediaRef) -> str:
    if ref.path is None:
        raise unreadable(ref, "videos are read from files (`MediaCache.to_file` makes one from bytes)")
    return ref.path


@dataclass(frozen=True)
class _Header:
    seconds: float
    rate: float
    size: tuple[int, int]


@lru_cache(maxsize=1024)  # several questions about one video
def _header(path: str) -> _Header:
    """Length, frame rate and size as the container states them: for planning only.

    Raises:
        MediaError: it can't be opened.
    """
    with opened(path) as (container, stream):
        rate = float(stream.average_rate or 25)
        seconds = stream.frames / rate if stream.frames else (container.duration or 0) / 1e6
        return _Header(seconds, rate, (stream.width, stream.height))


@lru_cache(maxsize=4)
def _tokenizer(path: str) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    # Both may be saved in the file, from somebody's training; neither must touch a prompt.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read(path: Path, required: bool) -> Mapping[str, Any]:
    if not required and not path.is_file():
        return {}
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EnvironmentProblem(
            f"`{path}` can't be read", str(error), "copy the base model's file into the checkpoint's folder"
        ) from None
    return content


def _pixel_range(config: Mapping[str, Any], usual: tuple[int, int]) -> tuple[int, int]:
    """Smallest and largest number of pixels, in the old spelling or the new one."""
    size = config.get("size") or {}
    low = config.get("min_pixels") or size.get("shortest_edge") or usual[0]
    high = config.get("max_pixels") or size.get("longest_edge") or usual[1]
    return int(low), int(high)
