"""``evalkit doctor --model``: whether a model's answers depend on what is answered at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal, get_args

from evalkit.core.errors import UsageError
from evalkit.core.types import MediaRef, Part, Request, Response, Text
from evalkit.data.cache import MediaCache, cache_root
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import ModelSpec
from evalkit.engine.executors.local import LocalExecutor
from evalkit.engine.optimizations import Optimizations
from evalkit.models.base import LoadConfig, ModelInfo
from evalkit.runner.planned import system_name
from evalkit.runner.requests import render
from evalkit.zoo.minisuite import MiniDataset

Kind = Literal["text", "image", "several images", "video"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PROMPTS = 32
"""Fixture prompts, as many of each kind, drawn from a seed of their own."""

SIZES = (1, 2, 8)
NEW_TOKENS = 32
_SEED = 7
_LISTED = 3


@dataclass(frozen=True)
class BatchResult:
    """Answers at one batch size that differ from those given alone, one by one, without any technique of the
    engine: ``changed`` of ``prompts``; ``errors`` have no answer. ``media`` says what a batch held.
    """

    batch_size: int
    media: Literal["one kind", "mixed"]
    prompts: int
    changed: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Share of changed texts."""
        return len(self.changed) / self.prompts if self.prompts else 0.0


@dataclass(frozen=True)
class BatchCheck:
    """What :func:`check_batches` found of a model; ``left_out`` are kinds of prompts that it isn't asked."""

    arm: str
    dtype: str
    results: tuple[BatchResult, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every prompt has an answer, and, in float32, the same one in every batch."""
        errors = any(each.errors for each in self.results)
        return not errors and (self.dtype != "float32" or not any(each.changed for each in self.results))


def check_batches(name: str, rope: str = "auto", load_config: LoadConfig | None = None) -> BatchCheck:
    """Have a model answer the fixture prompts one by one, and in batches of one kind and of mixed media.

    Raises:
        EvalkitError: it can't be loaded.
        UsageError: it can be asked nothing.
    """
    with closing(LocalExecutor()) as executor:
        (info,) = executor.load([ModelSpec(name, rope, load_config or LoadConfig())], lockstep=False)
        requests, left_out = _requests(info)
        if not any(requests.values()):
            raise UsageError(
                f"model `{name}`", f"it can be asked nothing: {left_out}", "see `evalkit models`"
            )
        every = [request for own in requests.values() for request in own]
        alone = _answers(executor, [every], 1, Optimizations.without("all"))
        results = [
            _compared(size, "one kind", alone, _answers(executor, list(requests.values()), size))
            for size in SIZES
        ]
        mixed = [each for group in zip(*requests.values(), strict=False) for each in group]
        mixed += [each for each in every if each not in mixed]
        results.append(_compared(SIZES[-1], "mixed", alone, _answers(executor, [mixed], SIZES[-1])))
    return BatchCheck(system_name(info), info.identity.get("dtype", "float32"), tuple(results), left_out)


def _answers(
    executor: LocalExecutor,
    parts: Sequence[Sequence[Request]],
    size: int,
    optimizations: Optimizations | None = None,
) -> dict[str, Response]:
    config = EngineConfig(workers=0, batch_size=size, optimizations=optimizations or Optimizations())
    found: dict[str, Response] = {}
    for requests in parts:
        with closing(executor.generate([requests], config)) as batches:
            found |= {each.key: each for _, responses in batches for each in responses}
    return found


def _compared(
    size: int,
    media: Literal["one kind", "mixed"],
    alone: Mapping[str, Response],
    found: Mapping[str, Response],
) -> BatchResult:
    errors = tuple(
        f"{key}: {error}" for key in alone if (error := alone[key].error or found[key].error) is not None
    )
    changed = tuple(
        key
        for key, each in alone.items()
        if each.error is None and found[key].error is None and each.text != found[key].text
    )
    return BatchResult(size, media, len(alone), changed, errors)


def _requests(info: ModelInfo) -> tuple[dict[Kind, list[Request]], dict[str, str]]:
    """Requests by kind, and why kinds are left out."""
    found: dict[Kind, list[Request]] = {}
    left_out: dict[str, str] = {}
    # What a family can be shown; a mock can be shown everything.
    takes = getattr(info.preprocessor, "placeholders", None)
    for kind, prompts in fixture_prompts().items():
        media = {part.kind for part in prompts[0] if isinstance(part, MediaRef)}
        if takes is not None and not media <= set(takes):
            left_out[kind] = f"the family {info.family} takes no {' or '.join(media - set(takes))}s"
            continue
        found[kind] = [_request(info, f"{kind} {number}", each) for number, each in enumerate(prompts)]
    return found, left_out


def _request(info: ModelInfo, name: str, parts: Sequence[Part]) -> Request:
    prompt, by_frames = render(info, parts)
    media = tuple(part for part in parts if isinstance(part, MediaRef))
    return Request(
        key=name,
        task="doctor",
        sample_id=name,
        prompt=prompt,
        media=media,
        max_new_tokens=NEW_TOKENS,
        by_frames=by_frames,
    )


def fixture_prompts() -> dict[Kind, list[tuple[Part, ...]]]:
    """The prompts of each kind, of various lengths: documents, charts and clips, drawn on the spot."""
    each = PROMPTS // len(KINDS)
    pages = list(MiniDataset("mini_docvqa", 2 * each, _SEED).rows())
    charts = list(MiniDataset("mini_chartqa", each, _SEED).rows())
    clips = list(MiniDataset("mini_video", each, _SEED).rows())
    cache = MediaCache(cache_root() / "media")

    def shown(row: Mapping[str, object]) -> MediaRef:
        picture = row["image"]
        assert isinstance(picture, Mapping)
        return cache.to_file(MediaRef("image", data=picture["bytes"]))

    count = range(each)
    return {
        "text": [
            (
                Text(
                    f"Count from {n} to {n + 3 * n + 2}, and say which of these numbers are even."
                    + " Go on." * n
                ),
            )
            for n in count
        ],
        "image": [(shown(pages[n]), Text(str(pages[n]["question"]))) for n in count],
        "several images": [
            (
                *(shown(row) for row in (pages[each + n], charts[n], *pages[:n][:2])),
                Text(f"Of the last page: {pages[each + n]['question']}"),
            )
            for n in count
        ],
        "video": [
            (MediaRef("video", path=str(row["video"])), Text("\n".join((row["question"], *row["options"]))))
            for row in clips
        ],
    }


def described(found: BatchResult) -> str:
    """A result in words."""
    share = f"{len(found.changed)} of {found.prompts} texts changed ({found.share:.1%})"
    names = f": {', '.join(found.changed[:_LISTED])}" if found.changed else ""
    errors = f"; {len(found.errors)} without an answer, the first: {found.errors[0]}" if found.errors else ""
    return share + names + errors
