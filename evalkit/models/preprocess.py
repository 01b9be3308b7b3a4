"""From a rendered prompt and its media to model inputs, without torch: the part that families share."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from evalkit.core.errors import MediaError, UsageError
from evalkit.core.types import MediaInfo, MediaKind, MediaLimits, MediaRef, Prepared, Request, VisionInput
from evalkit.data.frame_times import sampled_times
from evalkit.data.images import Pixels
from evalkit.data.media import media_digest, unreadable
from evalkit.data.sampling import FrameRule, SampledFrames, expected_count, sample_frames
from evalkit.data.video import open_reader, probe
from evalkit.data.video.probe import opened

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SHARED_LIMITS = ("fps", "min_frames", "max_frames", "visual_tokens")

TOKEN_TYPES: Mapping[MediaKind, int] = {"image": 1, "video": 2}

VISUAL_TOKENS = 24576
"""The paper's cap on the visual tokens of a request (arXiv 2510.23095, section 3.1)."""


@dataclass(frozen=True)
class ProcessedMedium:
    """One medium as the model gets it.

    ``text`` replaces the placeholder in the prompt, with one pad token for every block, or one for all of
    them; ``separators`` pad tokens follow the blocks and have positions like text.
    """

    vision: VisionInput
    info: MediaInfo
    text: str
    separators: int = 0


@dataclass(frozen=True)
class Clip:
    """Frames chosen from a video, decoded one by one ``[H, W, 3]``; ``size`` is (width, height)."""

    frames: Iterator[Pixels]
    size: tuple[int, int]
    chosen: SampledFrames


@dataclass(frozen=True)
class ChatPreprocessor:
    """Base class of the families' preprocessors; small, frozen and picklable.

    A subclass says how images and videos are processed. ``placeholders`` are what the chat template writes
    for a medium, ``pad_tokens`` the tokens that are repeated for its visual tokens.
    """

    tokenizer_file: str
    frames: FrameRule = field(default_factory=FrameRule)
    video_backend: str = "pyav"
    visual_tokens: int = VISUAL_TOKENS

    placeholders: ClassVar[Mapping[MediaKind, str]]
    pad_tokens: ClassVar[tuple[str, ...]]

    def process_image(self, ref: MediaRef, among: Sequence[MediaRef]) -> ProcessedMedium:
        """Decode and resize an image; all media ``among`` which it is share the visual tokens."""
        raise NotImplementedError

    def process_video(self, ref: MediaRef, among: Sequence[MediaRef]) -> ProcessedMedium:
        """Decode, sample and resize a video."""
        raise NotImplementedError

    def estimate_medium(self, ref: MediaRef, among: Sequence[MediaRef]) -> int:
        """Tokens that a medium takes in the place of its placeholder, from its header alone."""
        raise NotImplementedError

    def with_limits(self, max_frames: int | None, visual_tokens: int | None) -> Self:
        """The same with other limits on the frames of a video and on the visual tokens of a request."""
        rule = self.frames
        if max_frames is not None:
            rule = replace(rule, max_frames=max_frames, min_frames=min(rule.min_frames, max_frames))
        return replace(self, frames=rule, visual_tokens=visual_tokens or self.visual_tokens)

    def limited(self, limits: MediaLimits) -> Self:
        """See :class:`evalkit.models.base.Preprocessor`; what only some families have is up to
        ``with_own_limits``.

        Raises:
            UsageError: the family has none of a kind that is given.
        """
        own = {name: int(value) for name, value in limits.given.items() if name not in _SHARED_LIMITS}
        rule = limited_frames(self.frames, limits)
        tokens = limits.visual_tokens or self.visual_tokens
        return replace(self.with_own_limits(own) if own else self, frames=rule, visual_tokens=tokens)

    def with_own_limits(self, limits: Mapping[str, int]) -> Self:
        """The same with limits that only some families have: of pixels, or of tiles.

        Raises:
            UsageError: the family has none of a kind that is given.
        """
        raise no_such_limit(next(iter(limits)), type(self).__name__)

    def with_video_backend(self, backend: str) -> Self:
        """The same with another decoder of videos.

        Raises:
            EnvironmentProblem: its package isn't installed.
        """
        open_reader(backend)
        return replace(self, video_backend=backend)

    def estimate(self, request: Request) -> int:
        """See :class:`evalkit.models.base.Preprocessor`. Exact for images and for videos whose header
        states a constant frame rate and the number of frames; a medium that can't be read counts 1.
        """
        tokens = len(self.encode(request.full_prompt(self._expected_times(request))))
        for ref in request.media:
            try:
                spelled = len(self.encode(self.placeholders[ref.kind]))
                tokens += self.estimate_medium(ref, request.media) - spelled
            except MediaError:
                continue
        return tokens

    def full_prompt(self, request: Request) -> str:
        """See :class:`evalkit.models.base.Preprocessor`."""
        if not request.by_frames:
            return request.prompt
        most = self.most_frames(len(request.media))
        clips = [self.choose(ref, most) for ref in request.media if ref.kind == "video"]
        return request.full_prompt([time for chosen in clips for time in chosen.timestamps])

    def most_frames(self, share: int) -> int:
        """Most frames of a video in a request with ``share`` media."""
        return self.frames.max_frames

    def process_media(self, media: Sequence[MediaRef]) -> list[ProcessedMedium]:
        """See :class:`evalkit.models.base.Preprocessor`."""
        return [
            self.process_image(ref, media) if ref.kind == "image" else self.process_video(ref, media)
            for ref in media
        ]

    def prepare(self, request: Request, shown: Sequence[ProcessedMedium] | None = None) -> Prepared:
        """See :class:`evalkit.models.base.Preprocessor`."""
        began = time.perf_counter()
        if shown is None:
            shown = self.process_media(request.media)
        prompt = request.full_prompt([time for each in shown for time in each.info.timestamps])
        spelled = np.asarray(self.encode(self._spell(prompt, request, shown)), np.int64)
        tokenizer = tokenizer_of(self.tokenizer_file)
        places = np.flatnonzero(
            np.isin(spelled, [tokenizer.token_to_id(pad) or -1 for pad in self.pad_tokens])
        )
        counts, types = np.ones(len(spelled), np.int64), np.zeros(len(spelled), np.uint8)
        plain = np.zeros(len(spelled), np.int64)
        for place, (visual, separators, kind) in zip(places, self._pieces(request, shown), strict=True):
            counts[place], plain[place], types[place] = visual + separators, separators, TOKEN_TYPES[kind]
        token_types = np.repeat(types, counts)
        ends = np.cumsum(counts)
        for place in np.flatnonzero(plain):
            token_types[ends[place] - plain[place] : ends[place]] = 0
        return Prepared(
            key=request.key,
            input_ids=np.repeat(spelled, counts),
            token_types=token_types,
            vision=tuple(each.vision for each in shown),
            max_new_tokens=request.max_new_tokens,
            media=tuple(each.info for each in shown),
            seconds=time.perf_counter() - began,
            prefix=int(ends[places[-1]]) if len(places) else 0,
            choices=tuple(self._letter(prompt, letter) for letter in request.choices),
            prompt=prompt,
            reasoning_tokens=request.reasoning_tokens,
            draws=request.draws,
        )

    def encode(self, prompt: str) -> list[int]:
        """Token ids of a piece of chat text."""
        ids: list[int] = tokenizer_of(self.tokenizer_file).encode(prompt, add_special_tokens=False).ids
        return ids

    def _letter(self, prompt: str, letter: str) -> int:
        """The token that an option's letter is at the beginning of an answer."""
        before, after = self.encode(prompt), self.encode(prompt + letter)
        if after[:-1] != before:
            raise ValueError(
                f"the letter `{letter}` is not one token after the prompt; run without --mc-logits"
            )
        return after[-1]

    def clip(self, ref: MediaRef, most: int) -> Clip:
        """Decode the frames of a video that the frame rule chooses, at most ``most``."""
        chosen = self.choose(ref, most)
        path = local_file(ref)
        known = probe(path)
        frames = open_reader(self.video_backend).read(path, known, chosen.indices)
        return Clip(frames, (known.width, known.height), chosen)

    def choose(self, ref: MediaRef, most: int) -> SampledFrames:
        """The frames of a video that the frame rule chooses, at most ``most``; nothing is decoded."""
        rule = self.frames.at_most(most)
        try:
            return sample_frames(probe(local_file(ref)).timestamps, rule, ref.start, ref.end)
        except ValueError as error:
            raise unreadable(ref, str(error)) from None

    def expected_frames(self, ref: MediaRef, most: int) -> tuple[int, tuple[int, int]]:
        """Number of frames that :meth:`clip` will choose, and the video's size, from its header."""
        known = video_header(local_file(ref))
        end = known.seconds if ref.end is None else min(known.seconds, ref.end)
        seconds = max(0.0, end - (ref.start or 0.0))
        whole = max(1, round(seconds * known.rate))
        return expected_count(seconds, whole, self.frames.at_most(most)), known.size

    def _expected_times(self, request: Request) -> list[float]:
        """Seconds of the frames that will be chosen, from headers; empty where no text depends on them."""
        videos = (
            [ref for ref in request.media if ref.kind == "video" and ref.path] if request.by_frames else []
        )
        rule = self.frames.at_most(self.most_frames(len(request.media)))
        return [time for ref in videos for time in sampled_times(str(ref.path), rule, ref.start, ref.end)]

    def _spell(self, prompt: str, request: Request, shown: Sequence[ProcessedMedium]) -> str:
        """The prompt with every placeholder replaced by its medium's text."""
        kinds = {text: kind for kind, text in self.placeholders.items()}
        pattern = "|".join(re.escape(text) for text in kinds)
        found = [kinds[text] for text in re.findall(pattern, prompt)]
        if found != [each.info.kind for each in shown]:
            raise MediaError(
                f"the prompt of sample `{request.sample_id}` doesn't fit its media",
                f"it has places for {found}, and there are {[each.info.kind for each in shown]}",
                "this is a mistake in the task's prompt or in the chat template",
            )
        rest = iter(shown)
        return re.sub(pattern, lambda place: next(rest).text, prompt)

    def _pieces(
        self, request: Request, shown: Sequence[ProcessedMedium]
    ) -> Iterator[tuple[int, int, MediaKind]]:
        """For every pad token: visual tokens, separators after them, and the kind of medium."""
        for each in shown:
            sizes = [t * h * w for t, h, w in each.vision.blocks]
            pad_tokens = sum(each.text.count(pad) for pad in self.pad_tokens)
            if pad_tokens == len(sizes):
                yield from ((size, 0, each.info.kind) for size in sizes[:-1])
                yield sizes[-1], each.separators, each.info.kind
            else:
                yield sum(sizes), each.separators, each.info.kind


def limited_frames(rule: FrameRule, limits: MediaLimits) -> FrameRule:
    """A frame rule with what limits say of frames."""
    most = limits.max_frames or rule.max_frames
    least = min(limits.min_frames or rule.min_frames, most)
    return replace(rule, fps=limits.fps or rule.fps, min_frames=least, max_frames=most)


def no_such_limit(name: str, preprocessor: str) -> UsageError:
    """The error about a limit that a family of models doesn't have."""
    return UsageError(
        f"the limit `{name}` of the recipe",
        f"the model's family has none (`{preprocessor}`)",
        "use the recipe of the model's own family (`evalkit recipes`), or one of your own without it",
    )


def media_info_of(
    ref: MediaRef,
    size: tuple[int, int],
    shown: tuple[int, int],
    tokens: int,
    chosen: SampledFrames | None = None,
) -> MediaInfo:
    """The record of a processed medium; sizes are ``(width, height)``."""
    frames = () if chosen is None else (chosen.indices, chosen.timestamps)
    return MediaInfo(ref.kind, media_digest(ref), size, shown, tokens, *frames)


def escape_special_tokens(text: str, specials: Iterable[str]) -> str:
    """Break up special tokens that occur in a question's own text, so that they stay text.

    >>> escape_special_tokens("what is <|image_pad|>?", ["<|image_pad|>"])
    'what is < |image_pad|>?'
    """
    for special in specials:
        text = text.replace(special, f"{special[:1]} {special[1:]}")
    return text


def local_file(ref: MediaRef) -> str:
    """The path of a video."""
    if ref.path is None:
        raise unreadable(ref, "videos are read from files (`MediaCache.to_file` makes one from bytes)")
    return ref.path


@dataclass(frozen=True)
class VideoHeader:
    """What a container states about its video."""

    seconds: float
    rate: float
    size: tuple[int, int]


@lru_cache(maxsize=1024)  # several questions about one video
def video_header(path: str) -> VideoHeader:
    """Length, frame rate and size as the container states them: for planning only.

    Raises:
        MediaError: it can't be opened.
    """
    with opened(path) as (container, stream):
        rate = float(stream.average_rate or 25)
        seconds = stream.frames / rate if stream.frames else (container.duration or 0) / 1e6
        return VideoHeader(seconds, rate, (stream.width, stream.height))


@lru_cache(maxsize=4)
def tokenizer_of(path: str) -> Tokenizer:
    """The tokenizer of a file, loaded once."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    # Both may be saved in the file, from somebody's training; neither must touch a prompt.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
