"""A run on disk: ``manifest.json``, ``plans/``, ``tasks/``, ``journal/``, ``records.jsonl``, ``scores.json``.

The journal is the truth; ``records.jsonl``, the same by column (``records.parquet``, with
``records.sha256`` over both) and ``scores.json`` are views that can be made again at any time
(``evalkit score RUN``). Files other than the journal are replaced atomically, and what a file
refers to is written before it: a kill between any two writes leaves a folder that can be read.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from evalkit.core.atomic_files import is_temporary, list_files, write_atomic
from evalkit.core.errors import EvalkitError, RunGone, UsageError
from evalkit.core.task_source import TaskSource
from evalkit.core.validation import describe_validation_error
from evalkit.store.journal import Journal, JournalWriter, lines_of, parse_line, read_journal
from evalkit.store.locks import FOLDER as LOCKS
from evalkit.store.locks import exclusive, system_locks
from evalkit.store.manifest import FORMAT, Evaluation, Manifest, plan_digest, tuples
from evalkit.store.records import Record
from evalkit.store.records_frame import records_frame
from evalkit.store.records_table import RecordsTable, write_columns
from evalkit.store.upgrade import upgrade_manifest

if TYPE_CHECKING:
    import pandas as pd

_ERRORS = "surrogatepass"  # JSON has lone surrogates, and so may a model's text or a data set


@dataclass(frozen=True)
class RunDir:
    """Reads and writes one run directory."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunDir:
        """A new run, or one that an earlier command began; the folder is made by the first write.

        Raises:
            UsageError: ``path`` is a file, or a folder with other things in it.
        """
        if path.is_file() or (path.is_dir() and _strange(path) and not cls(path)._known()):
            raise UsageError(
                f"output `{path}` is not a run directory",
                "it exists and holds something else",
                "choose another `--output`, or an empty folder",
            )
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """Open a stored run.

        Raises:
            UsageError: there is no run at ``path``.
        """
        run = cls(path)
        if not (path / "manifest.json").is_file():
            raise UsageError(
                f"no run at `{path}`",
                "there is no manifest.json in it" if path.is_dir() else "there is no such folder",
                "give the folder that `evalkit run --output` wrote",
            )
        return run

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.resolve().name

    @property
    def begun(self) -> bool:
        """Whether an earlier command already wrote to this run."""
        return (self.path / "manifest.json").is_file()

    def manifest(self) -> Manifest:
        """Everything needed to repeat the run.

        Raises:
            UsageError: the file is missing, damaged or of a later format.
        """
        return self._read()[0]

    def keys(self, evaluations: Iterable[Evaluation]) -> list[list[str]]:
        """The requests' keys of each evaluation, in the order of its samples.

        Raises:
            UsageError: a plan is missing or damaged.
        """
        _, old = self._read()
        return [old[each.plan] if each.plan in old else self._plan(each) for each in evaluations]

    @contextmanager
    def view_lock(self) -> Iterator[None]:
        """Be the only process that makes the views; what it reads before it writes is then all there is."""
        with exclusive(self.path / LOCKS / "views.lock"):
            yield

    @contextmanager
    def answer_locks(
        self, names: Sequence[str], command: str, waiting: Callable[[str], None] | None
    ) -> Iterator[None]:
        """Be the only process that answers for ``names``; see :func:`evalkit.store.locks.system_locks`."""
        with system_locks(self.path, names, command, waiting):
            yield

    def update(self, change: Callable[[Manifest], Manifest], created: str) -> Manifest:
        """Change the manifest as it is now; one that isn't there yet is of the time ``created``."""
        with exclusive(self.path / LOCKS / "manifest.lock"):
            if self.begun:
                known, old = self._read()
                for name, keys in old.items():  # those of an earlier format
                    self._replace(f"plans/{name}.json", json.dumps(keys))
            else:
                known = Manifest(created=created)
            changed = change(known)
            content = changed.model_dump(mode="json")
            content = {"format": FORMAT, "sha256": _checksum(content), **content}
            self._replace("manifest.json", json.dumps(content, indent=2, ensure_ascii=False))
        return changed

    def write_plan(self, keys: Sequence[str]) -> str:
        """Store the keys of an evaluation's requests, and return the plan's name."""
        name = plan_digest(keys)
        if not (self.path / "plans" / f"{name}.json").is_file():
            self._replace(f"plans/{name}.json", json.dumps(list(keys)))
        return name

    def write_task(self, source: TaskSource) -> None:
        """Store the source of a task, if it isn't there; it lies in ``tasks/<digest>/``."""
        if self.stored_task(source.digest) != dict(source.files):
            for name, content in source.files.items():
                self._replace(f"tasks/{source.digest}/{name}", content)

    def stored_task(self, digest: str) -> dict[str, bytes]:
        """The stored files of a task's source, by their names; none if there is no such source. They are not
        checked.
        """
        folder = self.path / "tasks" / digest
        found = list_files(folder, "*", deep=True)
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}

    def outside(self, folders: Iterable[str]) -> tuple[str, ...]:
        """Those of the folders that are there, outside of this run: nothing in it is executed unasked."""
        place = self.path.resolve()
        return tuple(
            each for each in folders if Path(each).is_dir() and not Path(each).resolve().is_relative_to(place)
        )

    def check_there(self) -> None:
        """Look whether what a command wrote before is still there.

        Raises:
            RunGone: it was removed or renamed since.
        """
        if not self.begun:
            raise RunGone(
                f"run `{self.path}` was removed or renamed while it ran",
                "its manifest is no longer there, and answers must not be stored without it",
                "put the folder back in its place, or leave it away, and repeat the command",
            )

    def journal(self) -> Journal:
        """Everything that was answered so far."""
        return read_journal(self.path / "journal")

    def writer(self) -> JournalWriter:
        """A journal file of this process's own."""
        return JournalWriter(self.path / "journal")

    def views_are_current(self) -> bool:
        """Whether the records were made after the journal was last written to."""
        try:
            made = (self.path / "records.jsonl").stat().st_mtime_ns
            return all(
                each.stat().st_mtime_ns <= made for each in list_files(self.path / "journal", "*.jsonl")
            )
        except OSError:
            return False

    def write_records(
        self, records: Sequence[Record], figures: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        """Replace ``records.jsonl``, and then the same by column, with named ``figures`` about them.
        Of a kill in between the digests tell.
        """
        records, lines = lines_of(records)
        columns = io.BytesIO()
        write_columns(records, columns, figures)
        self._replace("records.jsonl", lines)
        self._replace("records.parquet", columns.getvalue())
        digests = (hashlib.sha256(content).hexdigest() for content in (lines, columns.getvalue()))
        self._replace("records.sha256", _digest_lines(*digests))

    def records(self) -> list[Record]:
        """The scored records of the last scoring.

        Raises:
            UsageError: the run was never scored, or the file is damaged.
        """
        return list(self._lines())

    def table(self) -> RecordsTable:
        """The records by column: those stored, or, where these are missing, damaged or of other records than
        ``records.jsonl`` now has, made of it in memory.

        Raises:
            UsageError: the run was never scored, or the file is damaged.
        """
        return self._stored_table() or self._made_table()

    def _stored_table(self) -> RecordsTable | None:
        try:
            with open(self.path / "records.jsonl", "rb") as lines:
                digest = hashlib.file_digest(lines, "sha256").hexdigest()
            columns = open(self.path / "records.parquet", "rb")  # noqa: SIM115 - the table reads on in it
            made = hashlib.file_digest(columns, "sha256").hexdigest()
            if (self.path / "records.sha256").read_text() == _digest_lines(digest, made):
                table = RecordsTable(columns)
                if table.current:
                    return table
        except (OSError, ValueError):
            return None
        columns.close()
        return None

    def _made_table(self) -> RecordsTable:
        columns = io.BytesIO()
        try:
            write_columns(self._lines(), columns)
        except ValueError as error:
            raise self._damaged("records.jsonl", str(error)) from None
        return RecordsTable(columns)

    def _lines(self) -> Iterator[Record]:
        path = self.path / "records.jsonl"
        if not path.is_file():
            raise UsageError(
                f"run `{self.path}` has no records yet",
                "it was interrupted before scoring",
                f"repeat its command to finish it, or score what is there: evalkit score {self.path}",
            )
        number = 0
        try:
            with open(path, "rb") as lines:
                for line in lines:
                    number += 1
                    yield parse_line(line)
        except ValueError as error:
            raise self._damaged("records.jsonl", f"line {number}: {error}") from None

    def to_pandas(self) -> pd.DataFrame:
        """The scored records as a frame, one row each (:mod:`evalkit.store.records_frame`).

        Raises:
            UsageError: the run was never scored, or the file is damaged.
        """
        return records_frame(self.records())

    def write_scores(self, scores: Mapping[str, Any]) -> None:
        """Replace ``scores.json``."""
        self._replace("scores.json", json.dumps(scores, indent=2, ensure_ascii=False))

    def scores(self) -> Any:
        """The content of ``scores.json``.

        Raises:
            UsageError: it is missing or damaged.
        """
        return self._load("scores.json")

    def write_submission(self, name: str, content: bytes) -> Path:
        """Replace a file of answers to be scored elsewhere; return where it is."""
        return self._replace(f"submissions/{name}", content)

    def _known(self) -> bool:
        return self.begun or any((self.path / name).is_dir() for name in ("journal", "plans", "locks"))

    def _read(self) -> tuple[Manifest, dict[str, list[str]]]:
        """The manifest, and the plans of one in an earlier format."""
        content = self._load("manifest.json")
        if not isinstance(content, dict):
            raise self._damaged("manifest.json", f"it holds a {type(content).__name__} instead of a mapping")
        form = content.get("format")
        if isinstance(form, int) and form > FORMAT:
            versions = content.get("invocations")
            raise UsageError(
                f"run `{self.path}` has format {form}",
                f"this evalkit reads formats up to {FORMAT}{_written_by(versions)}",
                "install that version or a later one: pip install -U evalkit",
            )
        try:
            if form == 1:
                planned = self._load("plan.json") if (self.path / "plan.json").is_file() else {}
                return upgrade_manifest(content, planned)
            if content.pop("sha256", None) != _checksum(content):
                raise ValueError("its checksum is another: it was changed or damaged")
            return Manifest(**tuples(content)), {}
        except ValidationError as error:
            raise self._damaged("manifest.json", ": ".join(describe_validation_error(error))) from None
        except EvalkitError as error:
            raise self._damaged("manifest.json", f"{error.what}: {error.why}") from None
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise self._damaged("manifest.json", f"{type(error).__name__}: {error}") from None

    def _plan(self, evaluation: Evaluation) -> list[str]:
        name = f"plans/{evaluation.plan}.json"
        keys = self._load(name)
        if not isinstance(keys, list) or plan_digest(keys) != evaluation.plan:
            raise self._damaged(name, "it is not the plan that its name says")
        return keys

    def _load(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8", errors=_ERRORS))
        except FileNotFoundError:
            raise UsageError(
                f"run `{self.path}` has no {name}",
                "it was deleted, or not copied",
                "repeat the run's command",
            ) from None
        except (ValueError, RecursionError) as error:
            raise self._damaged(name, str(error)) from None

    def _damaged(self, name: str, why: str) -> UsageError:
        again = f"make it again from the journal: evalkit score {self.path}"
        if name not in ("records.jsonl", "scores.json"):
            again = "delete it and repeat the run's command; the answers in its journal are kept"
        return UsageError(f"`{self.path / name}` is damaged", why, again)

    def _replace(self, name: str, content: str | bytes) -> Path:
        return write_atomic(self.path / name, content)


def _digest_lines(lines: str, columns: str) -> str:
    """What ``sha256sum --check`` reads."""
    return f"{lines}  records.jsonl\n{columns}  records.parquet\n"


def _checksum(content: Mapping[str, Any]) -> str:
    """Of a manifest: a changed number in it must not pass for one that was written."""
    text = json.dumps(content, sort_keys=True).encode("utf-8", _ERRORS)
    return hashlib.sha256(text).hexdigest()


def _written_by(invocations: Any) -> str:
    """The version of evalkit that wrote a manifest of a later format, if that can be told."""
    try:
        return f"; evalkit {invocations[-1]['versions']['evalkit']} wrote it"
    except (KeyError, TypeError, IndexError):
        return ""


def _strange(folder: Path) -> bool:
    """Whether a folder holds more than what a killed run may have left of its first file."""
    return any(not is_temporary(entry.name) for entry in folder.iterdir())
