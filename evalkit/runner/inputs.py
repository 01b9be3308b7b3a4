"""The inputs of a run: its tasks, the samples that are asked, and the content hashes of their media."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import UsageError
from evalkit.core.provenance import usable_cores
from evalkit.core.registry import load_task, resolve
from evalkit.core.task import Task
from evalkit.core.types import MediaDigest, MediaRef, Part, Sample
from evalkit.data.cache import MediaCache, cache_root
from evalkit.data.selection import IndexedSample, choose_samples, selected_ids
from evalkit.engine.media_scan import MAX_READERS, digest_files
from evalkit.integrations.lmms_eval import task as lmms
from evalkit.runner.answering import Answering
from evalkit.runner.manifest_entries import task_entry
from evalkit.store import TaskEntry


@dataclass(frozen=True, kw_only=True)
class RunInputs:
    """The tasks of a run and, by name, the manifest's entry and the samples that are asked, media hashed."""

    tasks: Sequence[Task]
    entries: Mapping[str, TaskEntry]
    samples: Mapping[str, Sequence[IndexedSample]]


def load_tasks(spec: RunSpec) -> list[Task]:
    """The tasks that a spec names, in its order, each once."""
    found: dict[str, Task] = {}
    answering = Answering.of(spec)
    for pattern in spec.tasks:
        for task in _matching(pattern, spec):
            if task.name not in found:
                found[task.name] = answering.task(task)
    return list(found.values())


def load_inputs(spec: RunSpec, tasks: Sequence[Task]) -> RunInputs:
    """Choose the samples of every task, and hash their media; a sample whose media can't be read in time gets
    a problem.

    Raises:
        EvalkitError: data are missing or not as declared, or a task has no samples.
    """
    cache = MediaCache(cache_root() / "media")
    samples = {task.name: _load_samples(spec, task, cache) for task in tasks}
    parts = (part for own in samples.values() for each in own for part in each.sample.parts)
    workers = min(MAX_READERS, usable_cores()) if spec.workers is None else spec.workers
    refs = (part for part in parts if isinstance(part, MediaRef))
    digests = digest_files(refs, workers, spec.media_timeout)
    hashed = {
        name: [replace(each, sample=_with_digests(each.sample, digests)) for each in own]
        for name, own in samples.items()
    }
    entries = {task.name: task_entry(task, hashed[task.name], spec.mc_logits) for task in tasks}
    return RunInputs(tasks=tasks, entries=entries, samples=hashed)


def _matching(pattern: str, spec: RunSpec) -> list[Task]:
    if pattern.startswith(lmms.PREFIX):
        return lmms.load(pattern, spec.lmms_python, spec.lmms_include)
    return [load_task(name, spec.tasks_dirs) for name in resolve([pattern], spec.tasks_dirs)]


def _load_samples(spec: RunSpec, task: Task, cache: MediaCache) -> list[IndexedSample]:
    only = selected_ids(task, spec.data_root, None, spec.subset)
    samples = choose_samples(task.samples(spec.data_root), spec.limit, cache, only)
    if not samples:
        raise UsageError(
            f"task `{task.name}` has no samples",
            f"its data set is empty ({task.dataset.describe()})",
            "check the mirror under `--data-root`",
        )
    return samples


def _with_digests(sample: Sample, digests: Mapping[str, MediaDigest]) -> Sample:
    def hashed(part: Part) -> Part:
        return replace(part, digest=digests.get(part.path or "")) if isinstance(part, MediaRef) else part

    parts = tuple(map(hashed, sample.parts))
    found = (part.digest for part in parts if isinstance(part, MediaRef) and part.digest)
    problem = next((each.problem for each in found if each.problem), None)
    return replace(sample, parts=parts, problem=sample.problem or problem)
