"""The types that all of evalkit shares: frozen dataclasses, standard library only.

A benchmark row becomes a :class:`Sample`; a sample rendered for one model becomes a
:class:`Request`; a request put through a preprocessor becomes a :class:`Prepared`, and through a
model a :class:`Response`. Two more live in the packages that could be published alone:
``Score`` in :mod:`evalkit.metrics.base` and ``RopeVariant`` in :mod:`evalkit.rope.variants`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evalkit.core.sampling_params import Draws

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MediaKind = Literal["image", "video"]
FinishReason = Literal["stop", "length", "loop", "error"]
Category = Literal["image", "video", "grounding"]


@dataclass(frozen=True)
class Text:
    """A piece of prompt text, verbatim; ``by_family`` has the words for the model families whose own
    evaluations ask differently, by the name of a family or of a wording that several share.
    """

    text: str
    by_family: Mapping[str, str] = field(default_factory=dict, compare=False)

    def wording(self, family: str, shared: str = "") -> str:
        """The text for a model family, or for those that share a wording; a family's own counts first."""
        return self.by_family.get(family, self.by_family.get(shared, self.text))


@dataclass(frozen=True)
class Locate:
    """A referring expression; each model family has its own wording of the request for a box."""

    phrase: str


@dataclass(frozen=True)
class MediaDigest:
    """The content hash of a file, and its state (size, times, inode) when it was read; None if it can't be
    read. ``problem``: why its samples can't be asked.
    """

    text: str
    state: tuple[int, ...] | None = None
    problem: str | None = None


@dataclass(frozen=True)
class MediaRef:
    """An image or a video that has not been decoded yet; cheap to hold and to pickle.

    Exactly one of ``path`` (a local file) and ``data`` (the encoded bytes) is set. ``start`` and
    ``end`` (seconds) restrict a video to a clip. ``frame_rate`` (a second) says that a video's path
    is a folder with a picture for each frame. ``drawn`` writes the file at ``path`` when it is first
    needed. ``source`` says in messages where it comes from, and ``digest`` is there once its content was
    read.
    """

    kind: MediaKind
    path: str | None = None
    data: bytes | None = field(default=None, repr=False)
    start: float | None = None
    end: float | None = None
    frame_rate: float | None = None
    source: str = field(default="", compare=False)
    digest: MediaDigest | None = field(default=None, compare=False, repr=False)
    drawn: Callable[[Path], None] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if (self.path is None) == (self.data is None):
            raise ValueError("MediaRef needs exactly one of `path` and `data`")


@dataclass(frozen=True)
class MediaLimits:
    """How media are shown where a recipe says so; None leaves it to the checkpoint and the paper's protocol.

    ``image_*`` pixels are those of an image; ``video_*`` those of a frame, or of all frames of a video
    together for families that bound them so. ``max_tiles`` is for families that cut images into tiles.
    """

    fps: float | None = None
    min_frames: int | None = None
    max_frames: int | None = None
    visual_tokens: int | None = None
    image_min_pixels: int | None = None
    image_max_pixels: int | None = None
    video_min_pixels: int | None = None
    video_max_pixels: int | None = None
    max_tiles: int | None = None

    @property
    def given(self) -> dict[str, float]:
        """What is said, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Cue:
    """One subtitle, on screen from ``start`` up to ``end`` (seconds)."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Subtitled:
    """Prompt text that quotes the subtitles on screen in the frames shown of the prompt's one video.

    It is rendered once the frames are chosen: ``before``, the cues, one a line, and ``after``; or
    ``otherwise`` where none is on screen.
    """

    cues: tuple[Cue, ...]
    before: str
    after: str
    otherwise: str

    def on_screen(self, times: Sequence[float]) -> list[Cue]:
        """The cues on screen at one of ``times`` (seconds, ascending), each once, in their order."""
        nexts = ((cue, bisect_left(times, cue.start)) for cue in self.cues)
        return [cue for cue, place in nexts if place < len(times) and times[place] < cue.end]

    def at(self, times: Sequence[float]) -> str:
        """The text for the frames at ``times`` (seconds, ascending)."""
        lines = "\n".join(cue.text for cue in self.on_screen(times))
        return f"{self.before}{lines}{self.after}" if lines else self.otherwise


FixedPart = Text | Locate | MediaRef
Part = FixedPart | Subtitled


@dataclass(frozen=True)
class Sample:
    """One question of a benchmark, independent of any model.

    ``cluster_id`` names the image or video: questions that share one are not independent.
    ``groups`` maps a breakdown ("question_type") to this sample's label or labels in it. ``meta``
    holds what the metric needs besides the reference (``question``, ``options``, ``image_size``);
    it is stored with the answer, so that scoring never needs the data set. Samples of one ``unit``
    (the rotations of a question) are scored together, so that a subset has all of them or none. A sample with
    a ``problem`` can't be asked: its record is an error that says why.
    """

    id: str
    parts: tuple[Part, ...]
    reference: Any
    cluster_id: str
    groups: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    unit: str = ""
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """A sample rendered for one model.

    ``key``, under which its answer is stored, is a hash over model, variant, prompt, media content, limits
    and recipe; requests are equal without it, since several models may ask the same. ``prompt`` is the full
    chat text with one placeholder per medium, in the order of ``media``, and without the texts
    ``by_frames``, which are inserted at these places (numbers of characters) once the frames are chosen.
    With ``choices`` the answer is the likeliest of these letters, from one forward pass. Of
    ``max_new_tokens``, ``reasoning_tokens`` are for reasoning alone; None sets nothing apart. ``repetition``
    counts the answers to one question, ``draws`` are their random numbers; None for greedy decoding.
    ``limits`` say how media are shown, if not as the model's preprocessor does by itself.
    """

    key: str = field(compare=False)
    task: str
    sample_id: str
    prompt: str
    media: tuple[MediaRef, ...]
    max_new_tokens: int
    choices: tuple[str, ...] = ()
    by_frames: tuple[tuple[int, Subtitled], ...] = ()
    reasoning_tokens: int | None = None
    repetition: int = 0
    draws: Draws | None = None
    limits: MediaLimits | None = None

    def full_prompt(self, times: Sequence[float]) -> str:
        """The prompt for frames of its video at ``times`` (seconds, ascending)."""
        text = self.prompt
        for place, words in reversed(self.by_frames):
            text = text[:place] + words.at(times) + text[place:]
        return text


@dataclass(frozen=True)
class MediaInfo:
    """What the model was shown of one medium; sizes are ``(width, height)`` in pixels.

    ``frames`` and ``timestamps`` (seconds) are the frames chosen from a video, before any padding
    to the temporal patch; both are empty for an image.
    """

    kind: MediaKind
    digest: str
    size: tuple[int, int]
    input_size: tuple[int, int]
    tokens: int
    frames: tuple[int, ...] = ()
    timestamps: tuple[float, ...] = ()


@dataclass(frozen=True)
class VisionInput:
    """One medium, ready for the vision tower.

    ``patches``: uint8 pixels, not yet normalised, in the family's own shape and order: patches
    ``[n, channels * temporal_patch * patch * patch]`` (Qwen), tiles or frames ``[n, 3, side, side]``
    (others). ``grid``: ``(t, h, w)`` in patches before merging, or how tiles or frames are laid out.
    ``blocks``: the visual blocks that the medium becomes, in token order, each ``(T, H, W)`` in
    language-model tokens. ``seconds_per_grid``: seconds between two temporal steps of a block with
    more than one. ``tile``: see :class:`evalkit.rope.layout.VisualBlock`.
    """

    kind: MediaKind
    patches: npt.NDArray[np.uint8]
    grid: tuple[int, int, int]
    blocks: tuple[tuple[int, int, int], ...]
    seconds_per_grid: float | None = None
    tile: tuple[int, int] | None = None


@dataclass(frozen=True)
class Prepared:
    """A request after CPU preprocessing: picklable, ready to be batched.

    ``key`` is that of the request; of equal requests, the first one's.
    ``input_ids``: int64 ``[length]`` with every visual token expanded. ``token_types``: uint8
    ``[length]``; 1 and 2 for the tokens of an image's or a video's blocks, 0 for all that is placed
    like text (separators and timestamps too). ``vision`` holds the media in order of appearance. ``prompt``
    is the request's, with all texts that depend on the frames shown.
    ``prefix``: number of tokens up to the last one of the media, 0 without any. ``choices``: the tokens
    one of which is the whole answer; empty if it is generated. ``reasoning_tokens``, ``draws``: as in
    :class:`Request`.
    """

    key: str
    input_ids: npt.NDArray[np.int64]
    token_types: npt.NDArray[np.uint8]
    vision: tuple[VisionInput, ...]
    max_new_tokens: int
    media: tuple[MediaInfo, ...] = ()
    seconds: float = 0.0
    prefix: int = 0
    choices: tuple[int, ...] = ()
    prompt: str = ""
    reasoning_tokens: int | None = None
    draws: Draws | None = None

    @property
    def length(self) -> int:
        """Number of prompt tokens."""
        return len(self.input_ids)


@dataclass(frozen=True)
class Generation:
    """What a model produced for one prepared request; ``token_ids`` exclude the stop token.

    ``margin``: by how much, in logits, the likeliest token was ahead of the next, at its closest;
    infinite if that is not known. ``margins``: the same for every token, the one that stopped it included,
    -1 where it is not known; empty unless the engine has them. ``error`` is set iff the reason is ``error``:
    there is no answer.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    margin: float = math.inf
    error: str | None = None
    margins: tuple[float, ...] = ()


@dataclass(frozen=True)
class Response:
    """The answer to one request, or why there is none. ``error`` is set iff the reason is ``error``;
    ``seconds`` maps a stage ("prepare", "generate") to wall-clock seconds; generating counts this request's
    share of its batches' time. ``margin``, ``margins``: see :class:`Generation`;
    None if it is not known. ``prompt``: with all texts that depend on frames; empty if preprocessing failed.
    """

    key: str
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    error: str | None = None
    prompt_tokens: int = 0
    visual_tokens: int = 0
    media: tuple[MediaInfo, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    margin: float | None = None
    prompt: str = ""
    margins: tuple[float, ...] = ()
