"""From samples to requests: which samples, rendered how, under which key."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from evalkit.data.cache import MediaCache
from evalkit.data.media import media_digest
from evalkit.errors import MediaError, UsageError
from evalkit.models.base import Model
from evalkit.task import Task
from evalkit.types import MediaRef, Request, Sample

# Part of every key: raise it when the meaning of a request changes without its fields changing.
KEY_VERSION = 1


@dataclass(frozen=True)
class Indexed:
    """A sample with its place in the task's order."""

    index: int
    sample: Sample


def choose(samples: Iterable[Sample], limit: int | None, cache: MediaCache) -> list[Indexed]:
    """The samples to run, media on disk, in the data set's order.

    With a limit, the samples whose hashed ids are smallest: the same ones in every run, whatever
    the order of the data set, and a smaller limit takes a subset of a larger one's.
    """
    numbered: Iterable[Indexed] = (Indexed(index, sample) for index, sample in enumerate(samples))
    if limit is not None:
        numbered = heapq.nsmallest(limit, numbered, key=lambda each: _rank(each.sample.id))
    light = [Indexed(each.index, _on_disk(each.sample, cache)) for each in numbered]
    counts = Counter(each.sample.id for each in light)
    repeated = [sample_id for sample_id, count in counts.items() if count > 1]
    if repeated:
        raise UsageError(
            f"{len(repeated)} sample ids occur more than once, such as `{repeated[0]}`",
            "stored answers are told apart by their sample's id",
            "make the task's `id` unique",
        )
    return sorted(light, key=lambda each: each.index)


def build_request(model: Model, task: Task, sample: Sample) -> Request:
    """Render a sample for a model and name the result by everything that can change the answer."""
    media = tuple(part for part in sample.parts if isinstance(part, MediaRef))
    prompt = model.render(sample.parts)
    identity = [
        KEY_VERSION,
        model.fingerprint,
        str(model.variant),
        task.name,
        sample.id,
        prompt,
        [[_digest(ref), ref.kind, ref.start, ref.end] for ref in media],
        task.max_new_tokens,
        # What is stored beside the answer: a corrected reference must not be scored with the old one.
        [sample.reference, sample.cluster_id, sample.groups, sample.meta],
    ]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Request(key, task.name, sample.id, prompt, media, task.max_new_tokens)


def _digest(ref: MediaRef) -> str:
    """A file that is not there has no content yet; its sample fails when it is prepared."""
    try:
        return media_digest(ref)
    except MediaError:
        return "unreadable"


def _rank(sample_id: str) -> str:
    return hashlib.sha256(sample_id.encode()).hexdigest()


def _on_disk(sample: Sample, cache: MediaCache) -> Sample:
    parts = tuple(cache.to_file(part) if isinstance(part, MediaRef) else part for part in sample.parts)
    return replace(sample, parts=parts)
