"""The schema of a benchmark's repository for ``evalkit tasks show``, each fact with where it was seen."""

from __future__ import annotations

from collections.abc import Iterator

from evalkit.core.task import Task
from evalkit.data.hub import HubDataset
from evalkit.data.schemas import RepoSchema, SchemaColumn, SchemaPart, schema_of


def schema_card(task: Task) -> dict[str, str]:
    """Columns, types, splits and numbers of rows, by heading; nothing for data that are in no repository."""
    dataset = task.dataset
    if not isinstance(dataset, HubDataset):
        return {}
    known = schema_of(dataset.repo)
    if known is None:
        return {"unverified": "everything: the repository is not in evalkit's table of schemas"}
    try:
        part = known.part(dataset.configs[0])
    except KeyError:
        return {
            "unverified": "everything: evalkit's table of schemas has no such configuration of the repository"
        }
    return {
        "repository's name": _seen(known.name_seen),
        "files": f"`{part.files}`, {_seen(part.layout)}",
        "splits": "\n".join(_splits(dataset, part)),
        "columns (* read here)": "\n".join(_columns(part, frozenset(dataset.columns))),
        "unverified": "; ".join(_unverified(dataset, known, part)) or "nothing",
    }


def _seen(source: str) -> str:
    return f"seen in {source}" if source else "not seen"


def _splits(dataset: HubDataset, part: SchemaPart) -> Iterator[str]:
    """A line for each split of the configurations that the benchmark reads, its own split first."""
    configs = _configs(dataset, part)
    for split in sorted(part.splits, key=lambda each: each.name != dataset.split):
        total = part.rows(split.name, configs)
        counts = [split.counts.get(config) for config in configs]
        if len(configs) == 1 or total is None:
            each = ""
        elif len(set(counts)) == 1:
            each = f" ({counts[0]:,} in each of {len(configs)} configurations)"
        else:
            each = f" ({', '.join(f'{name} {n:,}' for name, n in zip(configs, counts, strict=True))})"
        mark = "*" if split.name == dataset.split else ""
        rows = "number of rows unknown" if total is None else f"{total:,} rows{each}"
        yield f"{split.name}{mark}: {rows}, {_seen(split.seen)}"


def _columns(part: SchemaPart, read: frozenset[str]) -> Iterator[str]:
    """The columns, in a line for each source."""
    for source in dict.fromkeys(column.seen for column in part.columns):
        found = [column for column in part.columns if column.seen == source]
        yield f"{_seen(source)}: {', '.join(_column(each, each.name in read) for each in found)}"


def _column(column: SchemaColumn, read: bool) -> str:
    unseen = " (its type not seen)" if column.seen and not column.typed else ""
    return f"{column.name}{'*' if read else ''} {column.type}{unseen}"


def _unverified(dataset: HubDataset, known: RepoSchema, part: SchemaPart) -> Iterator[str]:
    """Facts that were seen nowhere."""
    if not known.name_seen:
        yield "the repository's name"
    for what, found in (
        ("the columns", [column.name for column in part.columns if not column.seen]),
        ("the types of", [column.name for column in part.columns if column.seen and not column.typed]),
    ):
        if found:
            yield f"{what} {', '.join(found)}"
    split = part.split(dataset.split)
    if split is None:
        yield f"the split {dataset.split}"
    elif not split.seen or part.rows(dataset.split, _configs(dataset, part)) is None:
        yield f"the number of rows of {dataset.split}"
    if not part.layout:
        yield "the paths of its files"


def _configs(dataset: HubDataset, part: SchemaPart) -> tuple[str, ...]:
    named = tuple(config for config in dataset.configs if config)
    return named or part.configs
