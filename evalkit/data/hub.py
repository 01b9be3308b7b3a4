"""Rows of a Hugging Face data set, from the hub or from a local mirror with the hub's layout.

A mirror is a folder ``DATA_ROOT/<owner>/<name>/`` as ``hf download --local-dir`` makes it. Images
are handed out encoded, as ``{"bytes": ..., "path": ...}``. No data set script and no pickle is
ever loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from evalkit.core.columns import (
    ColumnType,
    DeclaredColumns,
    feature_type,
    inferred_types,
    is_json_feature,
    parse_json_cell,
    type_mismatches,
)
from evalkit.core.errors import EnvironmentProblem, did_you_mean
from evalkit.core.task import Row
from evalkit.data.file_columns import FileColumns, PathTemplates, check_text
from evalkit.data.hub_access import unreachable
from evalkit.data.lock import NAME as LOCK
from evalkit.data.lock import read_lock
from evalkit.data.mirror import find_mirror, how_to_get
from evalkit.data.parquet_limits import BATCH_ROWS, safe_batch_rows
from evalkit.data.remote import find_repository

# Formats that hold data only. `datasets` reads more, none of which a benchmark here needs.
_FORMATS = ("parquet", "arrow", "json", "csv", "imagefolder")
_KINDS = {".parquet": "parquet", ".arrow": "arrow", ".json": "json", ".jsonl": "json", ".csv": "csv"}

_HEAD = 64
"""How many rows are read ahead to infer types where the file has no schema."""

_VAGUE = ("null", "anything")


class HubUnreachable(EnvironmentProblem):
    """The hub is needed and can't be reached (exit code 4)."""


@dataclass(frozen=True)
class FoundRepository:
    """Where a repository was found: ``source`` is a mirror's folder or a name on the hub, ``revision`` the
    commit there (None: a mirror), ``commit`` what is known of it, in words.
    """

    name: str
    source: str
    commit: str
    revision: str | None = None

    @property
    def folder(self) -> Path | None:
        """The mirror's folder."""
        return Path(self.source) if self.revision is None else None


@dataclass(frozen=True)
class HubDataset(DeclaredColumns):
    """One split of a data set repository.

    Attributes:
        repo: ``owner/name`` on the hub.
        config: configuration, or several whose rows follow one another.
        split: the split's name in the repository.
        revision: branch, tag or commit.
        columns: columns that the task reads, by name or with what each holds
            (:mod:`evalkit.core.columns`); that one is absent, or holds something else throughout, is an
            error before anything runs, and a single cell that does an error of its row.
        archives: patterns of zip and tar files in the repository that hold media (a tar file may be
            cut into parts); unpacked once into the cache, unless they already lie unpacked beside
            the archive.
        files: new columns with paths of local files: name -> candidate paths with ``{column}``
            placeholders (or a function of the row that gives them), looked up in the repository,
            in its unpacked archives and in the data root; the first that exists is taken. A path
            that ends with ``/`` names a folder.
        optional: columns of ``files`` that may be None where there is no file.
        files_hint: how to get files that are not in the repository.
        aliases: other names of the same repository, such as those that it had before it was moved: a mirror
            under any of them is taken, and on the hub they are tried in turn.
        found: where the repository was found (see :meth:`open`); None in a declaration.
    """

    repo: str
    config: str | tuple[str, ...] | None = None
    split: str = "test"
    revision: str = "main"
    columns: tuple[str, ...] | Mapping[str, ColumnType] = ()
    archives: tuple[str, ...] = ()
    files: Mapping[str, PathTemplates] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    files_hint: str = ""
    aliases: tuple[str, ...] = ()
    found: FoundRepository | None = None

    def open(self, data_root: str | None) -> HubDataset:
        """The same, found below ``data_root``, or on the hub without one.

        Raises:
            EnvironmentProblem: there is no such mirror, or there are two that may differ; or the hub can't be
                reached, or has no such repository.
        """
        return replace(self, found=self._find(data_root))

    def rows(self, data_root: str | None) -> Iterator[Row]:
        """Yield the rows of every configuration, in the repository's order, with additional columns:
        ``row_number``, from 0 over all configurations, and ``config`` where configurations are declared.

        Raises:
            EnvironmentProblem: the data are not there, incomplete, or not as declared.
        """
        found = self.found or self._find(data_root)
        locked = read_lock(Path(data_root).expanduser() / LOCK).get(found.name) if data_root else None
        files = self._files(found, data_root)
        number = 0
        for config in self.configs:
            first = number
            known = locked.splits.get(f"{config or 'default'}/{self.split}", ()) if locked else ()
            for place, row in enumerate(self._read(found.source, config, found.revision, known)):
                if place == 0:
                    self._check_columns(row)
                row = {"row_number": number, **({"config": config} if config else {}), **row}
                yield files.add_paths(row) if files else row
                number += 1
            if number == first:
                raise self._problem(
                    found.source, config, "it is empty: it has no rows", found.revision is None
                )
        if files:
            files.check_any_found()

    @property
    def names(self) -> tuple[str, ...]:
        """The repository's names, the usual one first."""
        return (self.repo, *self.aliases)

    @property
    def configs(self) -> tuple[str | None, ...]:
        """The configurations whose rows follow one another; None is the repository's only one."""
        return (self.config,) if isinstance(self.config, str | None) else self.config

    def describe(self) -> dict[str, str]:
        """Where the rows come from; once it is open, also the commit, the source, and under which of its
        names the repository was found. ``repo`` is the same whatever it was, so that a row keeps its name.
        """
        configs = {"config": ", ".join(filter(None, self.configs))} if self.config else {}
        resolved: dict[str, str] = {}
        if self.found:
            source = "hub" if self.found.revision else "local mirror"
            resolved = {"source": source, "commit": self.found.commit}
            resolved |= {"found_as": self.found.name} if self.aliases else {}
        return {
            "repo": self.repo,
            **({"aliases": ", ".join(self.aliases)} if self.aliases else {}),
            **configs,
            "split": self.split,
            "revision": self.revision,
            **resolved,
        }

    def _read(
        self, source: str, config: str | None, revision: str | None, known: Sequence[str] = ()
    ) -> Iterator[Row]:
        """Yield the rows of one configuration, media undecoded.

        ``known`` are a mirror's files of this split, where a lock file says so: the mirror may lack
        those of other splits, which the repository's card names too.
        """
        import pyarrow as pa
        from datasets import load_dataset_builder
        from datasets.exceptions import DatasetsError

        local = revision is None
        try:
            if known:
                paths = [str(Path(source) / path) for path in known]
                kind = _KINDS.get(Path(known[0]).suffix, "")
                builder = load_dataset_builder(kind, data_files={self.split: paths})
            else:
                builder = load_dataset_builder(source, config, revision=revision)
            if builder.name not in _FORMATS:
                raise ValueError(f"it holds `{builder.name}` files; evalkit reads {', '.join(_FORMATS)}")
            self._check_split(builder.config.data_files)
            files = builder.config.data_files[self.split] if local and builder.config.data_files else []
            if builder.name == "parquet" and builder.config.batch_size is None:
                # By default the size of the first group, which may be 0.
                builder.config.batch_size = min(map(safe_batch_rows, map(Path, files)), default=BATCH_ROWS)
            for path in files if builder.name in ("json", "csv") else ():
                check_text(Path(path), json=builder.name == "json")
            if local:
                # Streaming reads the mirror's files in place; otherwise they'd be copied to the cache.
                rows = builder.as_streaming_dataset(split=self.split)
            else:
                builder.download_and_prepare()
                rows = builder.as_dataset(split=self.split).to_iterable_dataset()
            # JSON declares no features and holds no media.
            yield from self._as_declared(rows.decode(False) if rows.features else rows)
        except (ValueError, DatasetsError, OSError, RuntimeError, pa.ArrowException) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise self._problem(source, config, why, local) from error

    def _as_declared(self, rows: Any) -> Iterator[Row]:
        """Yield the rows, unless a column's type is not the declared one throughout."""
        names = {column: feature_type(feature) for column, feature in (rows.features or {}).items()}
        vague = {each: kind for each, kind in self.kinds.items() if names.get(each, "null") in _VAGUE}
        mixed = {column: each for column, each in (rows.features or {}).items() if is_json_feature(each)}
        reader = (
            {**row, **{name: parse_json_cell(each, row[name]) for name, each in mixed.items()}}
            for row in rows
        )
        head = list(islice(reader, _HEAD)) if vague else []
        wrong = type_mismatches(self.kinds, names | inferred_types(head, vague))
        if wrong:
            raise EnvironmentProblem(
                f"data set `{self.repo}`, split `{self.split}`",
                "; ".join(wrong),
                "use the repository and revision that the task declares (`evalkit tasks show NAME`)",
            )
        yield from head
        yield from reader

    def _check_split(self, data_files: Mapping[str, Any] | None) -> None:
        if data_files and self.split not in data_files:
            known = [str(name) for name in data_files]
            hint = did_you_mean(self.split, known)
            raise ValueError(f"it has no split `{self.split}`, only {', '.join(known)}.{hint}")

    def _check_columns(self, row: Row) -> None:
        missing = [column for column in self.columns if column not in row]
        if missing:
            raise EnvironmentProblem(
                f"data set `{self.repo}`",
                f"its rows have no {_names(missing)}; they have {_names(row)}",
                "use the repository and revision that the task declares (`evalkit tasks show NAME`)",
            )

    def _problem(self, source: str, config: str | None, why: str, local: bool) -> EnvironmentProblem:
        part = f", configuration `{config}`" if config else ""
        where = f" in `{source}`" if local else ""
        fix = f"download it again: {how_to_get(self.repo, source)}" if local else self._offline_fix()
        return EnvironmentProblem(f"data set `{self.repo}`{part}, split `{self.split}`{where}", why, fix)

    def _offline_fix(self) -> str:
        return (
            "check the network, HF_HUB_OFFLINE and (for gated data) HF_TOKEN; or make a local mirror where "
            "there is a network (`evalkit data pull TASKS --data-root DIR`), and give `--data-root DIR` here"
        )

    def _unreached(self, reason: str) -> HubUnreachable:
        return HubUnreachable(f"data set `{self.repo}`", reason, self._offline_fix())

    def _find(self, data_root: str | None) -> FoundRepository:
        """The mirror, or the repository on the hub at the commit that its revision is now."""
        if data_root:
            mirror = find_mirror(data_root, self.names)
            return FoundRepository(mirror.name, str(mirror.folder), mirror.held)
        reason = unreachable()
        if reason is not None:
            raise self._unreached(reason)
        name, commit = find_repository(self.names, self.revision, timeout=10)
        return FoundRepository(name, name, commit, commit)

    def _files(self, found: FoundRepository, data_root: str | None) -> FileColumns | None:
        if not self.files:
            return None
        folder = found.folder
        if folder is None and self.archives:
            folder = self._download_archives(found)
        return FileColumns.locate(
            self.repo, folder, data_root, self.archives, self.files, self.optional, self.files_hint
        )

    def sources(self, data_root: str | None) -> Sequence[Path] | None:
        """The mirror's folders and lock file; None for the hub, whose data may change."""
        if not data_root:
            return None
        root = Path(data_root).expanduser()
        # A mirror under another name, made since then, would be found, too.
        return [*(root / name for name in self.names), root / LOCK, *self.media_roots(data_root)]

    def media_roots(self, data_root: str) -> Sequence[Path]:
        """Folders of a mirror in which files that rows name are looked up."""
        files = self._files(self._find(data_root), data_root)
        return files.roots if files else ()

    def _download_archives(self, found: FoundRepository) -> Path:
        from huggingface_hub import snapshot_download

        try:
            return Path(
                snapshot_download(
                    found.source,
                    repo_type="dataset",
                    revision=found.revision,
                    allow_patterns=list(self.archives),
                )
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise self._problem(found.source, None, " ".join(str(error).split()), local=False) from error


def _names(columns: Any) -> str:
    return ", ".join(f"`{column}`" for column in columns)
