"""Which samples of a task are asked: all, a limited number, or the fixed subset for CI; by hashed ids."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeVar

from evalkit.core.task import Task
from evalkit.core.types import MediaRef, Sample
from evalkit.data.cache import MediaCache

Item = TypeVar("Item")


@dataclass(frozen=True)
class IndexedSample:
    """A sample with its place in the task's order."""

    index: int
    sample: Sample


def selected_ids(
    task: Task, data_root: str | None, limit: int | None, subset: str | None
) -> frozenset[str] | None:
    """Ids of the samples that a limit or a subset selects; None for all."""
    if subset == "ci":
        return ci_subset(task.samples(data_root), task.ci)
    if limit is not None:
        return frozenset(
            each.id for each in _smallest_hashes(task.samples(data_root), limit, lambda each: each)
        )
    return None


def choose_samples(
    samples: Iterable[Sample],
    limit: int | None,
    cache: MediaCache,
    only: Container[str] | None = None,
) -> list[IndexedSample]:
    """The samples to run, embedded media on disk, in the data set's order; with ``only``, those with these
    ids.

    With a limit, the samples whose hashed ids are smallest: the same ones in every run, whatever
    the order of the data set, and a smaller limit takes a subset of a larger one's.
    """
    numbered: Iterable[IndexedSample] = (IndexedSample(index, sample) for index, sample in enumerate(samples))
    if only is not None:
        numbered = (each for each in numbered if each.sample.id in only)
    if limit is not None:
        numbered = _smallest_hashes(numbered, limit, lambda each: each.sample)
    on_disk = (IndexedSample(each.index, _with_media_on_disk(each.sample, cache)) for each in numbered)
    return sorted(on_disk, key=lambda each: each.index)


def ci_subset(samples: Iterable[Sample], size: int) -> frozenset[str]:
    """Ids of the fixed subset for CI, stratified by the labels of the first group: of each stratum the
    samples whose hashed ids are smallest, so that the subset is the same on every machine and in every order.
    """
    strata: dict[str, list[Sample]] = {}
    for sample in samples:
        label = next(iter(sample.groups.values()), "")
        bare = replace(sample, parts=(), meta={})
        strata.setdefault(label if isinstance(label, str) else "+".join(label), []).append(bare)
    quotas = proportional_quotas({label: len(found) for label, found in strata.items()}, size)
    chosen = (_smallest_hashes(found, quotas[label], lambda each: each) for label, found in strata.items())
    return frozenset(sample.id for found in chosen for sample in found)


def proportional_quotas(sizes: Mapping[str, int], limit: int) -> dict[str, int]:
    """How many of ``limit`` samples each stratum gives, in proportion to ``sizes`` (largest remainder method,
    ties by name).

    >>> proportional_quotas({"a": 60, "b": 30, "c": 10}, 5)
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


def _smallest_hashes(items: Iterable[Item], limit: int, sample_of: Callable[[Item], Sample]) -> list[Item]:
    """At most ``limit`` items: those whose samples' units have the smallest hashes. No unit is split unless
    it is the only one.
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


def _with_media_on_disk(sample: Sample, cache: MediaCache) -> Sample:
    parts = tuple(
        cache.to_file(part) if isinstance(part, MediaRef) and (part.data is not None or part.drawn) else part
        for part in sample.parts
    )
    return replace(sample, parts=parts)
