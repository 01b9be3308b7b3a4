"""``evalkit data``: fetches what tasks need from the hub into a mirror, and checks a mirror."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from evalkit.core.columns import ColumnType
from evalkit.core.errors import EnvironmentProblem, EvalkitError, MediaError, UsageError
from evalkit.core.task import Row, Task
from evalkit.core.types import MediaRef, Sample
from evalkit.data.file_columns import named_files
from evalkit.data.hub import HubDataset
from evalkit.data.images import image_size
from evalkit.data.lock import NAME, LockedRepo, file_problem, read_lock, write_lock
from evalkit.data.mirror import only_mirror
from evalkit.data.remote import Remote
from evalkit.data.selection import selected_ids
from evalkit.data.tarballs import is_tar
from evalkit.data.unpack import unpack_in_place

LISTED = 10
"""Bad samples of a task that are named one by one."""


@dataclass(frozen=True)
class PullSpec:
    """What to fetch: which tasks, into which mirror, and which samples of each (see ``RunSpec``).

    ``lock`` is a further lock file (to be committed), which says which commits to fetch and learns
    which were; ``update`` takes the newest commits instead.
    """

    tasks: Sequence[Task]
    data_root: Path
    limit: int | None = None
    subset: str | None = None
    lock: Path | None = None
    update: bool = False

    @property
    def whole(self) -> bool:
        """Whether every sample is wanted."""
        return self.limit is None and self.subset is None


@dataclass
class RepoPlan:
    """What one repository's tasks need of it. ``names`` are all that it has; the mirror has that of ``name``,
    the hub may know it by another.
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
        """Bytes of the files, of all or of those that are not there yet."""
        sizes = {path: self.remote.tree[path].size for path in self.files}
        if missing_only:
            sizes = {path: size for path, size in sizes.items() if not _has_size(self.folder / path, size)}
        return sum(sizes.values())


class PullReporter(Protocol):
    """Told how a pull goes on."""

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
    for task, dataset in _hub_tasks(spec.tasks):
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
    """What a lock file says of a repository, under whichever of its names.

    Raises:
        UsageError: it says two things.
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
        for path in each.files:
            if each.remote.fetch(path, each.folder):
                reporter.fetched(f"{each.remote.repo}: {path}")
        _record(spec, each, {})
        members = _fetch_media(spec, each, reporter)
        _record(spec, each, members)
        _unpack(each, reporter)


@dataclass
class MirrorProblems:
    """What is wrong with a mirror, one line a problem; ``taken``: what is there under which of its names."""

    missing: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)


def check(spec: PullSpec) -> MirrorProblems:
    """What is wrong with a mirror; nothing where it is whole.

    Files are compared with the lock file's sizes and checksums; every row is read, counted and checked
    against what its task declares; media that the chosen samples refer to are looked for.
    """
    locked = read_lock(spec.data_root / NAME)
    found = MirrorProblems()
    for names in dict.fromkeys(dataset.names for _, dataset in _hub_tasks(spec.tasks)):
        try:
            there = only_mirror(spec.data_root, names)
        except EvalkitError:  # reading the rows says so
            continue
        if there and names[1:]:
            found.taken.append(f"{names[0]}: taken from `{there.name}`, commit {there.held}")
        found.missing += _wrong_files(spec.data_root, there.name if there else names[0], locked)
    for task in spec.tasks:
        if "mini" not in task.tags:  # drawn on the spot
            _check_rows(spec, task, found)
    return found


def _wrong_files(root: Path, repo: str, locked: Mapping[str, LockedRepo]) -> Iterator[str]:
    """Which files of a mirror are not as the lock file says."""
    if repo not in locked:
        yield f"{repo}: not in {NAME}; its files can't be checked, only read"
        return
    for path, expected in locked[repo].files.items():
        problem = file_problem(root / repo / path, expected)
        if problem:
            yield f"{repo}: {path}: {problem}"
    for path, size in locked[repo].members.items():
        if not _has_size(root / repo / path, size):
            yield f"{repo}: {path}: missing or cut short"


def _check_rows(spec: PullSpec, task: Task, found: MirrorProblems) -> None:
    """Add what is wrong with a task's rows: their number, files that they lack, what can't be asked."""
    dataset, root = task.dataset, str(spec.data_root)
    count, wanted = 0, 0
    bad: list[str] = []
    missing: dict[str, None] = {}
    try:
        named = _named(task)
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
    """Files that a row needs and that aren't there."""
    for column, names in named_files(dataset.files, row).items():
        if column not in dataset.optional and not any(
            (root / name).exists() for root in roots for name in names
        ):
            yield names[0]


def _unreadable(sample: Sample) -> str | None:
    """What is wrong with the header of an image that a row holds, or names by its place on this machine."""
    for part in (each for each in sample.parts if isinstance(each, MediaRef) and each.kind == "image"):
        if part.data is not None or Path(str(part.path)).is_absolute():
            try:
                image_size(part)
            except MediaError as error:
                return f"{error.what}: {error.why}"
    return None


def _hub_tasks(tasks: Sequence[Task]) -> Iterator[tuple[Task, HubDataset]]:
    for task in tasks:
        if isinstance(task.dataset, HubDataset):
            yield task, task.dataset


@dataclass(frozen=True)
class _UnresolvedDataset:
    """A data set whose rows name their files without looking for them."""

    dataset: HubDataset

    def rows(self, data_root: str | None) -> Iterator[Row]:
        for row in replace(self.dataset, files={}, archives=()).rows(data_root):
            names = named_files(self.dataset.files, row)
            found = {
                name: None if name in self.dataset.optional else paths[0] for name, paths in names.items()
            }
            yield {**row, **found}

    def describe(self) -> dict[str, str]:
        return self.dataset.describe()

    @property
    def kinds(self) -> Mapping[str, ColumnType]:
        return self.dataset.kinds

    def check(self, row: Row) -> str | None:
        return self.dataset.check(row)


def _named(task: Task) -> Task:
    if not isinstance(task.dataset, HubDataset):
        return task
    return replace(task, dataset=_UnresolvedDataset(task.dataset))


def _wanted(spec: PullSpec, task: Task) -> Iterator[Row]:
    """The stored rows that have a sample which is wanted."""
    named, root = _named(task), str(spec.data_root)
    chosen = selected_ids(named, root, spec.limit, spec.subset)
    for row, samples in named.read(root):
        if chosen is None or any(sample.id in chosen for sample in samples):
            yield row


def _fetch_media(spec: PullSpec, each: RepoPlan, reporter: PullReporter) -> dict[str, int]:
    """Fetch single files and members of archives that the wanted rows name; return the members."""
    members: dict[str, int] = {}
    for task, dataset in _hub_tasks(each.tasks):
        if not dataset.files:
            continue
        wanted = [names for row in _wanted(spec, task) for names in named_files(dataset.files, row).values()]
        for path in dict.fromkeys(name for names in wanted for name in names if name in each.remote.tree):
            each.files[path] = None
            if each.remote.fetch(path, each.folder):
                reporter.fetched(f"{each.remote.repo}: {path}")
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
        absent = [name for name, size in sizes.items() if not _has_size(each.folder / name, size)]
        if absent:
            each.remote.extract_members(
                archive,
                absent,
                each.folder,
                lambda name, archive=archive: reporter.fetched(f"{each.remote.repo}: {name} (of {archive})"),  # type: ignore[misc]
            )
    return found


def _record(spec: PullSpec, each: RepoPlan, members: Mapping[str, int]) -> None:
    """Write down what is there now, in the mirror and in the user's own lock file."""
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
    archives = [each.folder / path for _, dataset in _hub_tasks(each.tasks)
                for path in each.remote.matching(dataset.archives)]  # fmt: skip
    for name in unpack_in_place(dict.fromkeys(archives), each.folder):
        reporter.fetched(f"{each.remote.repo}: unpacked {name}")


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


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
