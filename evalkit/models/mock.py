"""A deterministic model without torch or weights, to exercise everything around a model.

``mock`` answers with the last line of its prompt. ``mock:BEHAVIOUR`` or ``mock:BEHAVIOUR=VALUE``:

* ``fixed=TEXT``: always that text
* ``answers=FILE.json``: a mapping from sample id (or ``task/sample id``) to text
* ``fail``: every sample raises; ``fail=PART``: those whose sample id contains PART
* ``loop``: ``1 1 1 ...`` up to the token limit
* ``oom=N``: a batch of more than N samples runs out of memory
* ``slow=SECONDS``: every batch takes that long
* ``draw=TEXT|TEXT...``: one of the texts, drawn where sampling is asked for; else the first
* ``die=PART``: the process is killed at samples whose id contains PART, as it is when memory is short
* ``lose=PART``: at samples whose id contains PART its pretended GPU is lost, until the process ends

It decodes its images and probes its videos, so that a damaged file is as much an error as with a real
model. A token is a word.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.core.errors import OutOfMemory, UsageError, did_you_mean
from evalkit.core.types import (
    FixedPart,
    Generation,
    Locate,
    MediaInfo,
    MediaLimits,
    MediaRef,
    Prepared,
    Request,
)
from evalkit.data.file_hash import file_hash
from evalkit.data.frame_times import sampled_times
from evalkit.data.images import load_image
from evalkit.data.media import media_digest, unreadable
from evalkit.data.sampling import FrameRule, sample_frames
from evalkit.data.video import probe
from evalkit.inference.counters import EngineCounters
from evalkit.inference.one_shot_decoder import OneShotDecoder
from evalkit.inference.stopping import ReasoningBudget
from evalkit.models.base import LoadConfig, Model, ModelInfo, fingerprint_of
from evalkit.models.chat_options import ChatOptions
from evalkit.models.checkpoints.source import Source
from evalkit.models.families.mock import FAMILY
from evalkit.models.preprocess import limited_frames
from evalkit.rope.variants import RopeVariant


@dataclass(frozen=True, kw_only=True)
class MockPrepared(Prepared):
    """A prepared request that still knows what was asked."""

    request: Request


@dataclass(frozen=True)
class MockPreprocessor:
    """Reads the media and counts words; ``frames`` of videos are chosen, and not decoded."""

    frames: FrameRule = field(default_factory=FrameRule)

    def limited(self, limits: MediaLimits) -> MockPreprocessor:
        """With the frames that limits say; it shows no pixels and counts no tokens of media."""
        return replace(self, frames=limited_frames(self.frames, limits))

    def estimate(self, request: Request) -> int:
        """Number of words."""
        videos = (
            [ref for ref in request.media if ref.kind == "video" and ref.path] if request.by_frames else []
        )
        times = [t for ref in videos for t in sampled_times(str(ref.path), self.frames, ref.start, ref.end)]
        return len(_words(request.full_prompt(times)))

    def full_prompt(self, request: Request) -> str:
        """See :class:`evalkit.models.base.Preprocessor`."""
        media = (
            self.process_media([ref for ref in request.media if ref.kind == "video"])
            if request.by_frames
            else ()
        )
        return request.full_prompt([time for each in media for time in each.timestamps])

    def process_media(self, media: Sequence[MediaRef]) -> tuple[MediaInfo, ...]:
        """Decode the media; raises MediaError where that fails."""
        return tuple(_look_at(ref, self.frames) for ref in media)

    def prepare(self, request: Request, shown: tuple[MediaInfo, ...] | None = None) -> Prepared:
        """See :class:`evalkit.models.base.Preprocessor`."""
        began = time.perf_counter()
        media = self.process_media(request.media) if shown is None else shown
        prompt = request.full_prompt([time for each in media for time in each.timestamps])
        ids = np.array([_token_id(word) for word in _words(prompt)], dtype=np.int64)
        return MockPrepared(
            key=request.key,
            input_ids=ids,
            token_types=np.zeros(len(ids), dtype=np.uint8),
            vision=(),
            max_new_tokens=request.max_new_tokens,
            media=media,
            seconds=time.perf_counter() - began,
            prompt=prompt,
            reasoning_tokens=request.reasoning_tokens,
            draws=request.draws,
            request=replace(request, prompt=prompt, by_frames=()),
        )


@dataclass(frozen=True)
class MockModel:
    """A name and an answer to every request; see the module's text."""

    name: str
    variant: RopeVariant
    identity: Mapping[str, str]
    answer: Callable[[Request], str]
    capacity: float = float("inf")
    seconds: float = 0.0
    loops: bool = False
    device_error: Callable[[], str | None] = lambda: None
    preprocessor: MockPreprocessor = MockPreprocessor()
    family: str = FAMILY.name
    box_space: str = FAMILY.box_space
    bytes: int = 0
    compile_seconds: float = 0.0
    notes: tuple[str, ...] = ()
    trained_with: None = None
    revision: None = None
    files: tuple[Path, ...] = ()

    @property
    def fingerprint(self) -> str:
        """See :class:`evalkit.models.base.ModelInfo`."""
        return fingerprint_of(self.identity)

    @property
    def info(self) -> MockModel:
        """Itself: it has no weights."""
        return self

    def load(self) -> MockModel:
        """It has no weights: it is there already."""
        return self

    def render(self, parts: Sequence[FixedPart]) -> str:
        """The parts in order, media as ``<image>`` and ``<video>``."""
        return "".join(_written(part) for part in parts)

    def fits_beside(self, other: ModelInfo) -> bool:
        """Whatever it is."""
        return True

    def share_weights_with(self, first: Model) -> None:
        """There is nothing to share."""

    def device_problem(self) -> str | None:
        """See :class:`evalkit.models.base.Model`."""
        return self.device_error()

    def token_budget(self, models: int) -> None:
        """No limit."""

    def decoder(
        self,
        stats: EngineCounters | None = None,
        *,
        uncached_vision: bool = False,
        graphs: bool = True,
        deterministic: bool = False,
    ) -> OneShotDecoder:
        """See :class:`evalkit.models.base.Model`."""
        return OneShotDecoder(self.generate)

    def close(self) -> None:
        """See :class:`evalkit.models.base.Model`."""

    def generate(self, batch: Sequence[Prepared]) -> list[Generation]:
        """Answer a batch; raises OutOfMemory above ``capacity`` samples."""
        if len(batch) > self.capacity:
            raise OutOfMemory(f"{self.name} takes {self.capacity} samples at once, not {len(batch)}")
        time.sleep(self.seconds)
        return [self._generate(item) for item in batch]

    def _generate(self, item: Prepared) -> Generation:
        if not isinstance(item, MockPrepared):
            raise TypeError("the mock answers what its own preprocessor prepared")
        text, choices = self.answer(item.request), item.request.choices
        if choices:
            text = next((word for word in re.findall(r"\w+", text) if word in choices), choices[0])
        words = _words(text)
        shown = words[: _allowed(item, words)]
        tokens = tuple(_token_id(word) for word in shown)
        if self.loops:
            return Generation("".join(shown), tokens, "loop")
        return Generation("".join(shown), tokens, "stop" if len(shown) == len(words) else "length")


def describe(source: Source | None, name: str, variant: RopeVariant, load_config: LoadConfig) -> MockModel:
    """Build the mock that ``name`` describes; of ``load_config`` the number of frames matters, ``source``
    doesn't.

    Raises:
        UsageError: an unknown behaviour, or a value that it can't take.
    """
    behaviour, _, value = name.partition(":")[2].partition("=")
    if behaviour not in _BEHAVIOURS:
        known = [each for each in _BEHAVIOURS if each]
        raise UsageError(
            f"unknown mock behaviour `{behaviour}`",
            f"there are: {', '.join(known)}.{did_you_mean(behaviour, known)}",
            "see `evalkit models show mock`",
        )
    try:
        settings = _BEHAVIOURS[behaviour](value)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"mock behaviour `{behaviour}={value}`", str(error), "see `evalkit models show mock`"
        ) from None
    if load_config.chat != ChatOptions():
        raise UsageError(
            f"`{name}` with thinking, template arguments or a system prompt",
            "a mock has no chat template",
            "leave them out, or take `--model tiny`",
        )
    identity: dict[str, str] = {"mock": name}
    identity |= {"sampling": load_config.sampling} if load_config.sampling else {}
    files: tuple[Path, ...] = ()
    if behaviour == "answers":
        identity, files = identity | {"answers": file_hash(value)}, (Path(value).absolute(),)
    rule = FrameRule()
    if load_config.max_frames is not None:
        rule = rule.at_most(load_config.max_frames)
        identity |= {"shown": str(rule)}
    settings = {"answer": _echo, "files": files, "preprocessor": MockPreprocessor(rule), **settings}
    return MockModel(name, variant, identity, **settings)


def _allowed(item: Prepared, words: Sequence[str]) -> int:
    """How many of the words an answer may have."""
    if item.reasoning_tokens is None:
        return item.max_new_tokens

    def text(places: Sequence[int]) -> str:
        return "".join(words[place] for place in places)

    budget = ReasoningBudget.of(item.prompt, item.reasoning_tokens, item.max_new_tokens, text)
    places = range(len(words))
    used = (place + 1 for place in places if budget.used_up(places[: place + 1]))
    return next(used, item.max_new_tokens)


def _draw(value: str) -> dict[str, Any]:
    texts = value.split("|")

    def answer(request: Request) -> str:
        return texts[int(request.draws.uniform(0) * len(texts)) if request.draws else 0]

    return {"answer": answer}


def _echo(request: Request) -> str:
    lines = request.prompt.strip().splitlines()
    return lines[-1].strip() if lines else ""


def _fixed(value: str) -> dict[str, Any]:
    return {"answer": lambda request: value}


def _answers(value: str) -> dict[str, Any]:
    answers: Mapping[str, str] = json.loads(Path(value).read_text(encoding="utf-8"))
    if not isinstance(answers, dict):
        raise ValueError("the file must hold an object: sample id to text")

    def answer(request: Request) -> str:
        for key in (f"{request.task}/{request.sample_id}", request.sample_id):
            if key in answers:
                return str(answers[key])
        raise LookupError(f"{value} has no answer for sample `{request.sample_id}` of `{request.task}`")

    return {"answer": answer}


def _fail(value: str) -> dict[str, Any]:
    def answer(request: Request) -> str:
        if value in request.sample_id:
            raise RuntimeError(f"the mock was told to fail on sample `{request.sample_id}`")
        return _echo(request)

    return {"answer": answer}


def _die(value: str) -> dict[str, Any]:
    def answer(request: Request) -> str:
        if value in request.sample_id:
            os.kill(os.getpid(), signal.SIGKILL)
        return _echo(request)

    return {"answer": answer}


def _lose(value: str) -> dict[str, Any]:
    said: list[str] = []

    def answer(request: Request) -> str:
        if value in request.sample_id:
            said.append("CUDA error: an illegal memory access was encountered")
        if said:
            raise RuntimeError(said[0])
        return _echo(request)

    return {"answer": answer, "device_error": lambda: next(iter(said), None)}


_BEHAVIOURS: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "": lambda value: {},
    "fixed": _fixed,
    "answers": _answers,
    "fail": _fail,
    "loop": lambda value: {"answer": lambda request: "1 " * request.max_new_tokens, "loops": True},
    "oom": lambda value: {"capacity": int(value)},
    "draw": _draw,
    "die": _die,
    "lose": _lose,
    "slow": lambda value: {"seconds": float(value)},
}


def _written(part: FixedPart) -> str:
    if isinstance(part, MediaRef):
        return f"<{part.kind}>\n"
    return f"Locate {part.phrase}" if isinstance(part, Locate) else part.text


def _look_at(ref: MediaRef, rule: FrameRule) -> MediaInfo:
    digest = media_digest(ref)
    if ref.kind == "image":
        size = load_image(ref).size
        return MediaInfo("image", digest, size, size, tokens=0)
    found = probe(str(ref.path))
    size = (found.width, found.height)
    try:
        chosen = sample_frames(found.timestamps, rule, ref.start, ref.end)
    except ValueError as error:
        raise unreadable(ref, str(error)) from None
    return MediaInfo("video", digest, size, size, 0, chosen.indices, chosen.timestamps)


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)


def _token_id(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))
