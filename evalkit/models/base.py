"""Protocols of models, loaded and not yet loaded, and of preprocessors; mocks implement them too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from evalkit.core.types import FixedPart, MediaLimits, MediaRef, Prepared, Request
from evalkit.inference.base import Decoder
from evalkit.inference.counters import EngineCounters
from evalkit.models.chat_options import ChatOptions

if TYPE_CHECKING:
    from evalkit.rope.outside import RopeFile
    from evalkit.rope.variants import RopeVariant


class Preprocessor(Protocol):
    """Turns requests into model inputs on the CPU. Picklable: it is sent to worker processes, so
    it must not hold weights nor need torch.
    """

    def limited(self, limits: MediaLimits) -> Preprocessor:
        """The same, showing media within ``limits``; asked for only where a recipe has some.

        Raises:
            UsageError: a limit is none of the family's.
        """
        ...

    def estimate(self, request: Request) -> int:
        """Number of prompt tokens, from headers alone (nothing is decoded)."""
        ...

    def full_prompt(self, request: Request) -> str:
        """The prompt with the texts that depend on the chosen frames; nothing is decoded.

        Raises:
            MediaError: a video can't be read.
        """
        ...

    def process_media(self, media: Sequence[MediaRef]) -> Any:
        """Decode, sample frames and resize the media of a request, for :meth:`prepare`.

        Raises:
            MediaError: an image or video can't be decoded.
        """
        ...

    def prepare(self, request: Request, shown: Any = None) -> Prepared:
        """Tokenize; ``shown`` is what :meth:`process_media` gave for the request's media, if it was called.

        Raises:
            MediaError: an image or video can't be decoded, or doesn't fit the prompt.
        """
        ...


def preprocessor_for(preprocessor: Preprocessor, request: Request) -> Preprocessor:
    """The preprocessor that shows media within the limits of a request: itself where it has none.

    Raises:
        UsageError: a limit is none of the family's.
    """
    return preprocessor if request.limits is None else preprocessor.limited(request.limits)


@dataclass(frozen=True, kw_only=True)
class LoadConfig:
    """How a checkpoint is loaded and run.

    Attributes:
        dtype: as ``load_model`` takes it.
        device: as ``load_model`` takes it.
        device_map: spreads the model over several devices, as transformers' ``from_pretrained`` does.
        max_frames: most frames of a video; None for the paper's protocol.
        visual_tokens: most visual tokens of a request; None for the paper's protocol.
        compiled: see :func:`evalkit.inference.compile.compile_parts`.
        batching: options of the engine, as the user writes them, that change which sequences share a
            computation: it rounds differently in 16 bits.
        processor: a model that lends tokenizer and processor settings to a checkpoint without.
        processor_if_needed: ``processor`` was named for several models, some of which may have their own.
        video_backend: what decodes videos (:data:`evalkit.data.video.BACKENDS`).
        rope_files: files that hold variants from outside.
        chat: how the chat template is rendered.
        sampling: how tokens are drawn, in words; None for greedy decoding.
        draws: whether some benchmark's answers may be drawn.
        engine: what computes: ``evalkit`` (this package) or ``vllm``.
        vllm_python: interpreter of an environment with vLLM; None means this one.
        engine_args: vLLM's engine arguments, by name.
    """

    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    max_frames: int | None = None
    visual_tokens: int | None = None
    compiled: bool = False
    batching: tuple[str, ...] = ()
    processor: str | None = None
    processor_if_needed: bool = False
    video_backend: str = "pyav"
    rope_files: tuple[RopeFile, ...] = ()
    chat: ChatOptions = field(default_factory=ChatOptions)
    sampling: str | None = None
    draws: bool = False
    engine: str = "evalkit"
    vllm_python: str | None = None
    engine_args: tuple[tuple[str, Any], ...] = ()


def fingerprint_of(identity: Mapping[str, str]) -> str:
    """SHA-256 of what a model's answers depend on.

    >>> fingerprint_of({"a": "1", "b": "2"}) == fingerprint_of({"b": "2", "a": "1"})
    True
    """
    return hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()


class ModelInfo(Protocol):
    """A checkpoint and a RoPE variant, before the weights are loaded: enough to plan and to render requests.
    Picklable.
    """

    @property
    def name(self) -> str:
        """What the user called it ("tiny", a path or a hub id)."""
        ...

    @property
    def family(self) -> str: ...

    @property
    def variant(self) -> RopeVariant: ...

    @property
    def box_space(self) -> str:
        """Convention of the coordinates the family emits (see ``metrics.base.Answer``)."""
        ...

    @property
    def identity(self) -> Mapping[str, str]:
        """What its answers depend on beside the variant, by name: hashes of files, settings, versions. Two
        models with the same identity give the same answers.
        """
        ...

    @property
    def fingerprint(self) -> str:
        """Hash over the identity: part of every request's key."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to print with a run: settings of the checkpoint that are not followed."""
        ...

    @property
    def trained_with(self) -> str | None:
        """The RoPE variant that the checkpoint's config names, if it is another than ``variant``."""
        ...

    @property
    def revision(self) -> str | None:
        """Commit on the hub that was loaded; ``base+adapter`` with an adapter, where a folder is ``local``;
        ``+processor:commit`` if a model of the hub lent its processor. None if nothing is from the hub.
        """
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        ...

    @property
    def preprocessor(self) -> Preprocessor: ...

    @property
    def bytes(self) -> int:
        """Upper bound of the memory that the weights take."""
        ...

    @property
    def compile_seconds(self) -> float:
        """Seconds that compiling it took when it was loaded."""
        ...

    def render(self, parts: Sequence[FixedPart]) -> str:
        """The chat text for one user turn, with one placeholder per medium."""
        ...

    def load(self) -> Model:
        """Load the weights and install the variant.

        Raises:
            UsageError: the variant doesn't fit the model.
            EnvironmentProblem: the weights are damaged, or don't fit into memory.
        """
        ...


class Model(Protocol):
    """A loaded checkpoint with one RoPE variant installed."""

    @property
    def info(self) -> ModelInfo:
        """What it was loaded from."""
        ...

    def fits_beside(self, other: ModelInfo) -> bool:
        """Whether another model's weights fit into memory beside this one's, with room to answer."""
        ...

    def share_weights_with(self, first: Model) -> None:
        """Share with ``first``, which answers the same requests, equal weights and, if the vision towers are
        equal, one encoding of the media.
        """
        ...

    def device_problem(self) -> str | None:
        """What a device of its weights says where a small computation fails on it; None if it doesn't."""
        ...

    def token_budget(self, models: int) -> int | None:
        """Tokens that each of ``models`` like this one may hold in its KV cache, in the memory that is free
        now; None for no limit.
        """
        ...

    def decoder(
        self,
        stats: EngineCounters | None = None,
        *,
        uncached_vision: bool = False,
        graphs: bool = True,
        deterministic: bool = False,
    ) -> Decoder:
        """A new, empty decoder, which counts into ``stats``; ``uncached_vision`` encodes every medium of
        every request anew; ``graphs`` captures decode steps as CUDA graphs where that is possible;
        ``deterministic``: answers depend on nothing but their prompt, in 16 bits too.
        """
        ...

    def close(self) -> None:
        """End what was started for it outside of this process."""
        ...
