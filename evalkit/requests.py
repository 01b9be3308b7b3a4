"""From samples to requests: which samples, rendered how, under which key."""

from __future__ import annotations

import hashlib
import heapq
import json
import sys
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import accumulate
from typing import TypeVar

from evalkit.data.cache import MediaCache
from evalkit.data.media import media_digest
from evalkit.errors import MediaError, UsageError
from evalkit.models.base import Card
from evalkit.task import Task
from evalkit.types import MediaRef, Part, Request, Sample, Subtitled, Text

# Part of every key: raise it when the meaning of a request changes without its fields changing.
KEY_VERSION = 2  # 2: special tokens that are an answer's markup are part of its text
Item = TypeVar("Item")


@dataclass(frozen=True)
class Indexed:
    """A sample with its place in the task's order."""

    index: int
    sample: Sample


def selected(
    task: Task, data_root: str | None, limit: int | None, subset: str | None
) -> frozenset[str] | None:
    """Ids of the samples that a limit or a subset leaves; None for all."""
    if subset == "ci":
        return ci_subset(task.samples(data_root), task.ci)
    if limit is not None:
        return frozenset(each.id for each in _smallest(task.samples(data_root), limit, lambda each: each))
    return None


def choose(
    samples: Iterable[Sample],
    limit: int | None,
    cache: MediaCache,
    only: Container[str] | None = None,
) -> list[Indexed]:
    """The samples to run, media on disk, in the data set's order; with ``only``, those of these ids.

    With a limit, the samples whose hashed ids are smallest: the same ones in every run, whatever
    the order of the data set, and a smaller limit takes a subset of a larger one's.
    """
    numbered: Iterable[Indexed] = (Indexed(index, sample) for index, sample in enumerate(samples))
    if only is not None:
        numbered = (each for each in numbered if each.sample.id in only)
    if limit is not None:
        numbered = _smallest(numbered, limit, lambda each: each.sample)
    light = (Indexed(each.index, _on_disk(each.sample, cache)) for each in numbered)
    return sorted(light, key=lambda each: each.index)


def ci_subset(samples: Iterable[Sample], size: int) -> frozenset[str]:
    """Ids of the fixed subset for CI: every label of the first group gives its share, the samples
    whose hashed ids are smallest, so that it is the same wherever and in whatever order it is drawn.
    """
    strata: dict[str, list[Sample]] = {}
    for sample in samples:
        label = next(iter(sample.groups.values()), "")
        bare = replace(sample, parts=(), meta={})
        strata.setdefault(label if isinstance(label, str) else "+".join(label), []).append(bare)
    quotas = shares({label: len(found) for label, found in strata.items()}, size)
    chosen = (_smallest(found, quotas[label], lambda each: each) for label, found in strata.items())
    return frozenset(sample.id for found in chosen for sample in found)


def shares(sizes: Mapping[str, int], limit: int) -> dict[str, int]:
    """How many of ``limit`` samples each stratum gives, in proportion to ``sizes``, in all at most
    as many as there are; the largest remainders are rounded up, ties by name.

    >>> shares({"a": 60, "b": 30, "c": 10}, 5)
    {'a': 3, 'b': 2, 'c': 0}
    """
    total = sum(sizes.values())
    wanted = min(limit, total)
    exact = {label: Fraction(size * wanted, total) for label, size in sizes.items()}
    quotas = {label: int(share) for label, share in exact.items()}
    by_remainder = sorted(exact, key=lambda label: (quotas[label] - exact[label], label))
    for label in by_remainder[: wanted - sum(quotas.values())]:
        quotas[label] += 1
    return quotas


def letters_of(sample: Sample) -> tuple[str, ...]:
    """The options' letters of a multiple-choice question that is answered by one of them; else nothing.

    >>> letters_of(Sample("s", (), "(B)", "c", meta={"options": {"A": "red", "B": "blue"}}))
    ('A', 'B')
    >>> letters_of(Sample("s", (), "7", "c", meta={"options": {"A": "6", "B": "7"}}))
    ()
    """
    options = sample.meta.get("options") or {}
    letters = tuple(options) if isinstance(options, Mapping) else ()
    hidden = sample.reference is None
    if all(len(each) == 1 for each in letters) and (hidden or str(sample.reference).strip("()") in letters):
        return letters
    return ()


def build_request(
    model: Card,
    task: Task,
    sample: Sample,
    *,
    mc_logits: bool = False,
    digests: Mapping[str, str] | None = None,
) -> Request:
    """Render a sample for a model and name the result by everything that can change the answer.

    ``mc_logits``: of a multiple-choice question, the answer is the likeliest letter. ``digests`` are those
    of files, by path, as far as they are known.
    """
    choices = letters_of(sample) if mc_logits else ()
    media = tuple(part for part in sample.parts if isinstance(part, MediaRef))
    prompt, by_frames = render(model, sample.parts)
    identity = [
        KEY_VERSION,
        model.fingerprint,
        str(model.variant),
        task.name,
        sample.id,
        prompt,
        [[_digest(ref, digests or {}), ref.kind, ref.start, ref.end] for ref in media],
        task.max_new_tokens,
        # What is stored beside the answer: a corrected reference must not be scored with the old one.
        [sample.reference, sample.cluster_id, sample.groups, sample.meta],
        *([choices] if choices else []),
        *([["problem", sample.problem]] if sample.problem else []),
        *([[place, asdict(words)] for place, words in by_frames]),
    ]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    limit = 1 if choices else task.max_new_tokens
    # Variants of a base ask the same: their many requests hold one text.
    shared = sys.intern(prompt)
    return Request(key, task.name, sample.id, shared, media, limit, choices=choices, by_frames=by_frames)


def render(model: Card, parts: Sequence[Part]) -> tuple[str, tuple[tuple[int, Subtitled], ...]]:
    """The chat text of one user turn, with one placeholder per medium, and what goes into it when the frames
    shown are known: at which place, in the words that the model's own rendering makes of it.

    Raises:
        UsageError: it depends on the frames of a video, and there is none or more than one.
    """
    waiting = [part for part in parts if isinstance(part, Subtitled)]
    videos = sum(isinstance(part, MediaRef) and part.kind == "video" for part in parts)
    if waiting and videos != 1:
        raise UsageError(
            f"a prompt with subtitles and {videos} videos",
            "they are those on screen in the frames shown of one video",
            "mend the task's `prompt`: one `video(...)` for its subtitles",
        )
    mark = _mark(parts)
    fixed = [Text(mark) if isinstance(part, Subtitled) else part for part in parts]
    pieces = model.render(fixed).split(mark)
    places = accumulate(len(piece) for piece in pieces[:-1])
    words = (_rendered(model, part, mark) for part in waiting)
    return "".join(pieces), tuple(zip(places, words, strict=True))


def _rendered(model: Card, words: Subtitled, mark: str) -> Subtitled:
    """With special tokens broken up, as the model's rendering does it: all in one turn, for speed."""
    texts = [words.before, words.after, words.otherwise, *(cue.text for cue in words.cues)]
    _, before, after, otherwise, *lines, _ = model.render([Text(mark.join(["", *texts, ""]))]).split(mark)
    cues = tuple(replace(cue, text=line) for cue, line in zip(words.cues, lines, strict=True))
    return Subtitled(cues, before, after, otherwise)


def _mark(parts: Sequence[Part]) -> str:
    """A character that no text has: Unicode keeps these free for such use."""
    written = repr(parts)
    return next(chr(code) for code in range(0xFDD0, 0xFDF0) if repr(chr(code))[1:-1] not in written)


def _digest(ref: MediaRef, known: Mapping[str, str]) -> str:
    """A file that is not there has no content yet; its sample fails when it is prepared."""
    if ref.path in known:
        return known[str(ref.path)]
    try:
        return media_digest(ref)
    except MediaError:
        return "unreadable"


def _smallest(items: Iterable[Item], limit: int, sample_of: Callable[[Item], Sample]) -> list[Item]:
    """The items whose samples' units have the smallest hashes, at most ``limit`` of them, no unit cut
    in two unless it is the only one.
    """

    def key(item: Item) -> tuple[str, str]:
        sample = sample_of(item)
        return _hash(sample.unit or sample.id), _hash(sample.id)

    found = heapq.nsmallest(limit + 1, items, key=key) if limit else []
    if len(found) <= limit:
        return found
    beyond = key(found.pop())[0]
    whole = [item for item in found if key(item)[0] != beyond]
    return whole or found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _on_disk(sample: Sample, cache: MediaCache) -> Sample:
    parts = tuple(cache.to_file(part) if isinstance(part, MediaRef) else part for part in sample.parts)
    return replace(sample, parts=parts)
