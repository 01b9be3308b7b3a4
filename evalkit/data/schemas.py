"""Schemas of data set repositories with the source of each fact, from ``schemas.yaml``.

A benchmark's file says what it reads; this table says what the repository holds, from other sources.

>>> known = schema_of("lmms-lab-encoder/ChartQA")
>>> known.part(None).rows("test"), known.part(None).types["answer"]
(2500, 'string')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

_NOT_SEEN = "not seen"
_EACH = "each"


@dataclass(frozen=True)
class SchemaColumn:
    """A column.

    Attributes:
        type: as ``datasets`` names it.
        seen: where its name was seen; empty if it wasn't.
        typed: whether its type was seen there, too.
    """

    name: str
    type: str
    seen: str
    typed: bool


@dataclass(frozen=True)
class SchemaSplit:
    """A split: the number of rows of each configuration (None: unknown), and where that was seen."""

    name: str
    counts: Mapping[str, int | None]
    seen: str


@dataclass(frozen=True)
class SchemaPart:
    """Configurations of a repository that have the same columns.

    Attributes:
        files: the path of a split's files, with ``{config}``, ``{split}`` and ``{shard}``.
        layout: where that was seen; empty if it wasn't.
    """

    configs: tuple[str, ...]
    files: str
    layout: str
    columns: tuple[SchemaColumn, ...]
    splits: tuple[SchemaSplit, ...]

    @property
    def types(self) -> dict[str, str]:
        """The columns' types."""
        return {column.name: column.type for column in self.columns}

    def split(self, name: str) -> SchemaSplit | None:
        """A split by its name; None if the table has none of that name."""
        return next((split for split in self.splits if split.name == name), None)

    def rows(self, split: str, configs: Sequence[str] = ()) -> int | None:
        """How many rows a split has, in the given configurations or all; None if it isn't known."""
        found = self.split(split)
        counts = [found.counts.get(config) for config in configs or self.configs] if found else [None]
        numbers = [count for count in counts if count is not None]
        return sum(numbers) if len(numbers) == len(counts) else None


@dataclass(frozen=True)
class RepoSchema:
    """A repository.

    Attributes:
        aliases: its other names.
        name_seen: where its name was seen.
        card: whether its card maps configurations and splits to files; else the files' names do.
    """

    repo: str
    aliases: tuple[str, ...]
    name_seen: str
    card: bool
    parts: tuple[SchemaPart, ...]

    def part(self, config: str | None) -> SchemaPart:
        """The part that has a configuration; None is the only one, or that of no name.

        Raises:
            KeyError: the table has no such configuration.
        """
        only = len(self.parts) == len(self.parts[0].configs) == 1
        for part in self.parts:
            if (config or "default") in part.configs or (config is None and only):
                return part
        raise KeyError(config)


@lru_cache(maxsize=1)
def schemas() -> Mapping[str, RepoSchema]:
    """Every repository of the table, by name."""
    stored = yaml.safe_load(files("evalkit.data").joinpath("schemas.yaml").read_text(encoding="utf-8"))
    return {repo: _schema(repo, found) for repo, found in stored.items()}


def schema_of(repo: str) -> RepoSchema | None:
    """What is known of a repository, under any of its names; None if it isn't in the table, such as one of a
    user's own.
    """
    return next((known for known in schemas().values() if repo in (known.repo, *known.aliases)), None)


def _schema(repo: str, found: Mapping[str, Any]) -> RepoSchema:
    parts = tuple(map(_part, found["parts"]))
    return RepoSchema(repo, tuple(found.get("aliases", ())), found["name"], found["card"], parts)


def _part(found: Mapping[str, Any]) -> SchemaPart:
    configs = tuple(found["configs"])
    columns = tuple(
        SchemaColumn(
            name, kind.removesuffix("~"), "" if source == _NOT_SEEN else source, _is_typed(source, kind)
        )
        for source, held in found["columns"].items()
        for name, kind in held.items()
    )
    splits = tuple(
        SchemaSplit(name, _counts(each["rows"], configs), each["seen"])
        for name, each in found["splits"].items()
    )
    return SchemaPart(configs, found["files"], found["layout"], columns, splits)


def _is_typed(source: str, kind: str) -> bool:
    return source != _NOT_SEEN and not kind.endswith("~")


def _counts(rows: Any, configs: tuple[str, ...]) -> dict[str, int | None]:
    """``rows`` is one number, one for each configuration by name, or ``each: number``."""
    if not isinstance(rows, Mapping):
        return dict.fromkeys(configs, rows)
    return {config: rows.get(config, rows.get(_EACH)) for config in configs}
