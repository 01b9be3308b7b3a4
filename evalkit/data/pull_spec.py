"""The tasks and samples that ``evalkit data pull`` and ``check`` are about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.core.columns import ColumnType
from evalkit.core.task import Row, Task
from evalkit.data.file_columns import named_files
from evalkit.data.hub import HubDataset


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


def hub_tasks(tasks: Sequence[Task]) -> Iterator[tuple[Task, HubDataset]]:
    """The tasks that read a repository of the hub, each with its data set."""
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


def with_unresolved_files(task: Task) -> Task:
    """A task whose rows name their files without looking for them."""
    if not isinstance(task.dataset, HubDataset):
        return task
    return replace(task, dataset=_UnresolvedDataset(task.dataset))


def has_size(path: Path, size: int) -> bool:
    """Whether a file is there and has so many bytes."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False
