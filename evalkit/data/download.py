"""``evalkit data pull``: fetches the files that tasks need from the hub into a mirror."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.core.task import Row, Task
from evalkit.data.file_columns import named_files
from evalkit.data.hub import HubDataset
from evalkit.data.lock import NAME, LockedRepo, read_lock, write_lock
from evalkit.data.mirror import only_mirror
from evalkit.data.pull_spec import PullSpec, has_size, hub_tasks, with_unresolved_files
from evalkit.data.remote import Remote
from evalkit.data.selection import selected_ids
from evalkit.data.tarballs import is_tar
from evalkit.data.unpack import unpack_in_place


@dataclass
class RepoPlan:
    """The files of one repository that its tasks need. ``names``: all its names; ``name``: that of the
    mirror's folder, which may differ from that on the hub (``remote.repo``).
    """

    remote: Remote
    revision: str
    folder: Path
    name: str
    names: tuple[str, ...]
    splits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    files: dict[str, None] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)

    def size(self, missing_only: bool = False) -> int:
        """Bytes of all files, or of the missing ones."""
        sizes = {path: self.remote.tree[path].size for path in self.files}
        if missing_only:
            sizes = {path: size for path, size in sizes.items() if not has_size(self.folder / path, size)}
        return sum(sizes.values())


class PullReporter(Protocol):
    """Reports the progress of a pull."""

    def planned(self, plans: Sequence[RepoPlan], free: int) -> None:
        """What will be fetched; ``free`` bytes are left on the disk."""
        ...

    def fetched(self, text: str) -> None:
        """A file was fetched, or an archive unpacked."""
        ...


def plan_pull(spec: PullSpec) -> list[RepoPlan]:
    """Which files the tasks need, repository by repository; media that only a part of the samples
    needs are found once the rows are there.

    Raises:
        EnvironmentProblem: the hub can't be asked, or a repository lacks what a task declares.
    """
    locked = read_lock(spec.lock or spec.data_root / NAME)
    plans: dict[str, RepoPlan] = {}
    for task, dataset in hub_tasks(spec.tasks):
        there = only_mirror(spec.data_root, dataset.names)
        name = there.name if there else dataset.repo
        found = plans.get(name)
        if found is None:
            entry = None if spec.update else _locked(locked, dataset)
            remote = Remote.at(dataset.names, entry.commit if entry else dataset.revision)
            found = RepoPlan(remote, dataset.revision, spec.data_root / name, name, dataset.names)
            plans[name] = found
        found.tasks.append(task)
        for config in dataset.configs:
            paths = found.remote.data_files(config, dataset.split)
            found.splits[f"{config or 'default'}/{dataset.split}"] = paths
            found.files |= dict.fromkeys(paths)
        found.files |= dict.fromkeys(path for path in ("README.md",) if path in found.remote.tree)
        archives = found.remote.matching(dataset.archives)
        # Of a zip archive, single members can be had.
        whole = archives if spec.whole else [path for path in archives if is_tar(Path(path))]
        found.files |= dict.fromkeys(whole)
    return list(plans.values())


def _locked(locked: Mapping[str, LockedRepo], dataset: HubDataset) -> LockedRepo | None:
    """The lock file's entry of a repository, under any of its names.

    Raises:
        UsageError: two entries disagree.
    """
    found = {name: locked[name] for name in dataset.names if name in locked}
    if len({entry.commit for entry in found.values()}) > 1:
        entries = " and ".join(f"`{name}` at {entry.commit}" for name, entry in found.items())
        raise UsageError(
            "the lock file",
            f"it names one repository twice, at two commits: {entries}",
            "delete one of the entries, or take the newest commit with `--update`",
        )
    return next(iter(found.values()), None)


def pull(spec: PullSpec, reporter: PullReporter) -> list[RepoPlan]:
    """Fetch, check and unpack; repeating the same spec goes on where it stopped: files that are whole
    stay, the one that was under way is fetched again.

    Raises:
        EnvironmentProblem: something can't be fetched or unpacked, or the disk is too small.
    """
    from filelock import FileLock

    plans = plan_pull(spec)
    spec.data_root.mkdir(parents=True, exist_ok=True)
    with FileLock(spec.data_root / ".evalkit-pull.lock"):  # pulls into one mirror take turns
        _pull(spec, plans, reporter)
    return plans


def _pull(spec: PullSpec, plans: Sequence[RepoPlan], reporter: PullReporter) -> None:
    free = shutil.disk_usage(spec.data_root).free
    reporter.planned(plans, free)
    needed = sum(each.size(missing_only=True) for each in plans)
    if needed > free:
        raise EnvironmentProblem(
            f"data root `{spec.data_root}`",
            f"{needed:,} bytes are to be fetched and {free:,} are free",
            "choose another `--data-root`, fewer tasks, or a subset (`--subset ci`)",
        )
    for each in plans:
        for left in (each.folder / ".cache").rglob("*.incomplete"):  # of a pull that was killed
            left.unlink()
        _fetch(each, each.files, reporter)
        _record(spec, each, {})
        members = _fetch_media(spec, each, reporter)
        _record(spec, each, members)
        _unpack(each, reporter)


def _wanted(spec: PullSpec, task: Task) -> Iterator[Row]:
    """The stored rows with at least one selected sample."""
    named, root = with_unresolved_files(task), str(spec.data_root)
    chosen = selected_ids(named, root, spec.limit, spec.subset)
    for row, samples in named.read(root):
        if chosen is None or any(sample.id in chosen for sample in samples):
            yield row


def _fetch(each: RepoPlan, paths: Iterable[str], reporter: PullReporter) -> None:
    for path in each.remote.fetch(paths, each.folder):
        reporter.fetched(f"{each.remote.repo}: {path}")


def _fetch_media(spec: PullSpec, each: RepoPlan, reporter: PullReporter) -> dict[str, int]:
    """Fetch single files and members of archives that the wanted rows name; return the members."""
    members: dict[str, int] = {}
    for task, dataset in hub_tasks(each.tasks):
        if not dataset.files:
            continue
        wanted = [names for row in _wanted(spec, task) for names in named_files(dataset.files, row).values()]
        single = dict.fromkeys(name for names in wanted for name in names if name in each.remote.tree)
        each.files |= single
        _fetch(each, single, reporter)
        if not spec.whole:
            members |= _extract_members(each, dataset, {name for names in wanted for name in names}, reporter)
    return members


def _extract_members(
    each: RepoPlan, dataset: HubDataset, names: set[str], reporter: PullReporter
) -> dict[str, int]:
    """Take the wanted members out of the remote zip archives."""
    found: dict[str, int] = {}
    for archive in each.remote.matching(dataset.archives):
        if is_tar(Path(archive)) or (each.folder / archive).exists():
            continue
        sizes = {name: size for name, size in each.remote.zip_sizes(archive).items() if name in names}
        found |= sizes
        absent = [name for name, size in sizes.items() if not has_size(each.folder / name, size)]
        if absent:
            each.remote.extract_members(
                archive,
                absent,
                each.folder,
                lambda name, archive=archive: reporter.fetched(f"{each.remote.repo}: {name} (of {archive})"),  # type: ignore[misc]
            )
    return found


def _record(spec: PullSpec, each: RepoPlan, members: Mapping[str, int]) -> None:
    """Update the mirror's lock file, and the user's own."""
    files = {path: each.remote.tree[path] for path in each.files}
    entry = LockedRepo(each.revision, each.remote.commit, each.splits, files, members)
    for path in {spec.data_root / NAME, spec.lock or spec.data_root / NAME}:
        known = read_lock(path)
        # The mirror's own file says what lies in each folder; another has one entry for a repository.
        own = path == spec.data_root / NAME
        there = [name for name in each.names if own and (spec.data_root / name).is_dir()]
        gone = [name for name in each.names if name in known and name not in there]
        before = known.get(each.name) or (None if own else next((known[name] for name in gone), None))
        kept = {name: held for name, held in known.items() if name not in gone}
        write_lock(path, {**kept, each.name: before.merged(entry) if before else entry})


def _unpack(each: RepoPlan, reporter: PullReporter) -> None:
    """Unpack archives beside themselves, where every job finds them, unless that was done."""
    archives = [each.folder / path for _, dataset in hub_tasks(each.tasks)
                for path in each.remote.matching(dataset.archives)]  # fmt: skip
    for name in unpack_in_place(dict.fromkeys(archives), each.folder):
        reporter.fetched(f"{each.remote.repo}: unpacked {name}")


def summary(plans: Sequence[RepoPlan]) -> list[dict[str, Any]]:
    """Repositories with their commits and sizes in bytes, for printing."""
    return [
        {
            "repository": each.remote.repo,
            "mirror": each.name,
            "commit": each.remote.commit,
            "tasks": [task.name for task in each.tasks],
            "files": len(each.files),
            "bytes": each.size(),
            "bytes_to_fetch": each.size(missing_only=True),
        }
        for each in plans
    ]
