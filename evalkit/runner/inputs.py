"""The inputs of a run: its tasks, the samples that are asked, and the content hashes of their media."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import UsageError
from evalkit.core.provenance import usable_cores
from evalkit.core.registry import load_task, resolve
from evalkit.core.task import Task
from evalkit.core.types import MediaDigest, MediaRef, Part, Sample
from evalkit.data.cache import MediaCache, cache_root
from evalkit.data.hub import HubUnreachable
from evalkit.data.mirror import NoMirror
from evalkit.data.selection import IndexedSample, choose_samples, selected_ids
from evalkit.engine.media_scan import MAX_READERS, FrameFolder, digest_files, frame_folder, join_frames
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


def open_tasks(tasks: Sequence[Task], data_root: str | None) -> list[Task]:
    """The tasks with their data found; what is missing of several is one error, which says how to get it.

    Raises:
        EnvironmentProblem: data of a task are not there.
    """
    opened: list[Task] = []
    lacking: dict[str, NoMirror | HubUnreachable] = {}
    for task in tasks:
        try:
            opened.append(task.open(data_root))
        except (NoMirror, HubUnreachable) as error:
            lacking[task.name] = error
    if not lacking:
        return opened
    first = next(iter(lacking.values()))
    folder = data_root or "DIR"
    fix = f"evalkit data pull {' '.join(lacking)} --data-root {folder}"
    if data_root is None:
        fix = f"where there is a network: `{fix}`; then give `--data-root DIR` here"
    what = first.what if len(lacking) == 1 else f"data of {len(lacking)} of the {len(tasks)} tasks"
    more = f" (of {', '.join(lacking)})" if len(lacking) > 1 and data_root else ""
    raise type(first)(what, f"{first.why}{more}", fix)


def load_inputs(spec: RunSpec, tasks: Sequence[Task]) -> RunInputs:
    """Choose the samples of every task, make a film of each folder of frames, and hash their media; a sample
    whose media can't be read in time gets a problem.

    Raises:
        EvalkitError: data are missing or not as declared, or a task has no samples.
    """
    cache = MediaCache(cache_root() / "media")
    samples = {task.name: _load_samples(spec, task, cache) for task in tasks}
    workers = min(MAX_READERS, usable_cores()) if spec.workers is None else spec.workers
    folders = [ref for ref in _media(samples) if ref.frame_rate]
    films = join_frames(folders, cache, workers, spec.media_timeout)
    if films:
        samples = {
            name: [replace(each, sample=_with_films(each.sample, films)) for each in own]
            for name, own in samples.items()
        }
    digests = digest_files(_media(samples), workers, spec.media_timeout)
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


def _media(samples: Mapping[str, Sequence[IndexedSample]]) -> Iterator[MediaRef]:
    parts = (part for own in samples.values() for each in own for part in each.sample.parts)
    return (part for part in parts if isinstance(part, MediaRef))


def _with_films(sample: Sample, films: Mapping[FrameFolder, MediaRef | str]) -> Sample:
    """A sample with films in place of folders of frames, or with the problem of one."""
    problem = sample.problem
    parts: list[Part] = []
    for part in sample.parts:
        film = films.get(frame_folder(part)) if isinstance(part, MediaRef) and part.frame_rate else None
        if isinstance(film, str):
            problem = problem or film
        elif film is not None and isinstance(part, MediaRef):
            part = replace(part, path=film.path, frame_rate=None)
        parts.append(part)
    return replace(sample, parts=tuple(parts), problem=problem)


def _with_digests(sample: Sample, digests: Mapping[str, MediaDigest]) -> Sample:
    def hashed(part: Part) -> Part:
        return replace(part, digest=digests.get(part.path or "")) if isinstance(part, MediaRef) else part

    parts = tuple(map(hashed, sample.parts))
    found = (part.digest for part in parts if isinstance(part, MediaRef) and part.digest)
    problem = next((each.problem for each in found if each.problem), None)
    return replace(sample, parts=parts, problem=sample.problem or problem)
