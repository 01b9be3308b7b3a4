"""What is wrong with a mirror: ``evalkit data check``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.core.errors import EvalkitError, MediaError
from evalkit.core.registry import DRAWN
from evalkit.core.task import Row, Task
from evalkit.core.types import MediaRef, Sample
from evalkit.data.file_columns import named_files
from evalkit.data.hub import HubDataset
from evalkit.data.images import image_size
from evalkit.data.lock import NAME, LockedRepo, file_problem, read_lock
from evalkit.data.mirror import only_mirror
from evalkit.data.pull_spec import PullSpec, has_size, hub_tasks, with_unresolved_files
from evalkit.data.selection import selected_ids

LISTED = 10
"""How many bad samples of a task are listed."""


@dataclass
class MirrorProblems:
    """Problems of a mirror, one line each; ``taken``: under which of its names each repository was found."""

    missing: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)


def check(spec: PullSpec) -> MirrorProblems:
    """Compare a mirror with its lock file and with what tasks declare.

    Files are compared with the lock file's sizes and checksums; every row is read, counted and checked
    against what its task declares; media that the chosen samples refer to are looked for.
    """
    locked = read_lock(spec.data_root / NAME)
    found = MirrorProblems()
    users: dict[tuple[str, ...], list[str]] = {}
    for task, dataset in hub_tasks(spec.tasks):
        users.setdefault(dataset.names, []).append(task.name)
    absent: dict[str, list[str]] = {}
    for names, tasks in users.items():
        try:
            there = only_mirror(spec.data_root, names)
        except EvalkitError:  # reading the rows says so
            continue
        if there is None and not any(name in locked for name in names):
            absent[names[0]] = tasks
            continue
        if there and names[1:]:
            found.taken.append(f"{names[0]}: taken from `{there.name}`, commit {there.held}")
        found.missing += _wrong_files(spec.data_root, there.name if there else names[0], locked)
    found.missing += _absent_lines(spec.data_root, absent, len(users))
    unread = {task for tasks in absent.values() for task in tasks}
    for task in spec.tasks:
        if DRAWN.isdisjoint(task.tags) and task.name not in unread:  # mini tasks are drawn on the spot
            _check_rows(spec, task, found)
    return found


def _absent_lines(root: Path, absent: Mapping[str, Sequence[str]], wanted: int) -> Iterator[str]:
    """A line for each repository that is not there; a single one where none of several is."""
    if len(absent) == wanted > 1:
        why = "has none of" if root.is_dir() else "does not exist; it should have"
        yield f"`{root}` {why} the {wanted} data sets: {', '.join(absent)}"
        return
    for repo, tasks in absent.items():
        yield f"{repo}: `{root / repo}` does not exist ({', '.join(tasks)})"


def _wrong_files(root: Path, repo: str, locked: Mapping[str, LockedRepo]) -> Iterator[str]:
    """Files of a mirror that differ from the lock file."""
    if repo not in locked:
        yield f"{repo}: not in {NAME}; its files can't be checked, only read"
        return
    for path, expected in locked[repo].files.items():
        problem = file_problem(root / repo / path, expected)
        if problem:
            yield f"{repo}: {path}: {problem}"
    for path, size in locked[repo].members.items():
        if not has_size(root / repo / path, size):
            yield f"{repo}: {path}: missing or cut short"


def _check_rows(spec: PullSpec, task: Task, found: MirrorProblems) -> None:
    """Count a task's rows; note missing files and samples that can't be asked."""
    dataset, root = task.dataset, str(spec.data_root)
    count, wanted = 0, 0
    bad: list[str] = []
    missing: dict[str, None] = {}
    try:
        named = with_unresolved_files(task)
        chosen = selected_ids(named, root, spec.limit, spec.subset)
        looked_in = _roots(spec, dataset) if isinstance(dataset, HubDataset) else []
        for row, samples in named.read(root):
            count += len(samples)
            own = [sample for sample in samples if chosen is None or sample.id in chosen]
            wanted += len(own)
            bad += [problem for sample in own if (problem := sample.problem or _unreadable(sample))]
            if own and isinstance(dataset, HubDataset):
                missing |= dict.fromkeys(_missing(dataset, row, looked_in))
    except EvalkitError as error:
        found.missing.append(f"{task.name}: {' '.join(str(error).split())}")
        return
    if task.size is not None and count != task.size:
        found.missing.append(f"{task.name}: {count} samples instead of {task.size}")
    if missing:
        first, more = next(iter(missing)), f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        hint = dataset.files_hint if isinstance(dataset, HubDataset) else ""
        found.missing.append(f"{task.name}: no file `{first}`{more}. {hint}".rstrip(" ."))
    if bad:
        found.bad.append(f"{task.name}: {len(bad)} of {wanted} samples can't be asked")
        found.bad += [f"{task.name}: {problem}" for problem in bad[:LISTED]]
        found.bad += [f"{task.name}: and {len(bad) - LISTED} more"] if len(bad) > LISTED else []


def _roots(spec: PullSpec, dataset: HubDataset) -> Sequence[Path]:
    """Folders in which files that rows name are looked up."""
    if not dataset.files:
        return []
    return dataset.media_roots(str(spec.data_root))


def _missing(dataset: HubDataset, row: Row, roots: Sequence[Path]) -> Iterator[str]:
    """Files that a row names and that are missing."""
    for column, names in named_files(dataset.files, row).items():
        if column not in dataset.optional and not any(
            (root / name).exists() for root in roots for name in names
        ):
            yield names[0]


def _unreadable(sample: Sample) -> str | None:
    """The error of an image header that can't be read, embedded or on this machine; None if all can."""
    for part in (each for each in sample.parts if isinstance(each, MediaRef) and each.kind == "image"):
        if part.data is not None or Path(str(part.path)).is_absolute():
            try:
                image_size(part)
            except MediaError as error:
                return f"{error.what}: {error.why}"
    return None
