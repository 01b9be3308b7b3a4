"""A run on disk: ``manifest.json``, ``plan.json``, ``journal/``, ``records.jsonl``, ``scores.json``.

The journal is the truth; ``records.jsonl`` and ``scores.json`` are views that can be made again at
any time (``evalkit score RUN``). Files other than the journal are replaced atomically.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.store.journal import Journal, JournalWriter, read_journal
from evalkit.store.records import Record

FORMAT = 1
Plan = dict[str, dict[str, list[str]]]
_TEMPORARY = ".tmp"
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

    @property
    def planned(self) -> bool:
        """Whether an earlier command got as far as planning its samples."""
        return (self.path / "plan.json").is_file()

    def manifest(self) -> dict[str, Any]:
        """Everything needed to repeat the run.

        Raises:
            UsageError: the file is damaged or of another format.
        """
        manifest = self._load("manifest.json")
        if manifest.get("format") != FORMAT:
            raise UsageError(
                f"run `{self.path}` has format {manifest.get('format')!r}",
                f"this evalkit reads format {FORMAT}",
                "read it with the evalkit version named in its manifest.json",
            )
        return manifest

    def plan(self) -> Plan:
        """Request keys, arm by arm and task by task, in sample order."""
        return self._load("plan.json")

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace ``manifest.json``."""
        self._replace(
            "manifest.json", json.dumps({"format": FORMAT, **manifest}, indent=2, ensure_ascii=False)
        )

    def write_plan(self, plan: Plan) -> None:
        """Replace ``plan.json``."""
        self._replace("plan.json", json.dumps(plan))

    def journal(self) -> Journal:
        """Everything that was answered so far."""
        return read_journal(self.path / "journal")

    def writer(self) -> JournalWriter:
        """A journal file of this process's own."""
        return JournalWriter(self.path / "journal")

    def write_records(self, records: Sequence[Record]) -> None:
        """Replace ``records.jsonl``."""
        lines = (json.dumps(record.to_json(), ensure_ascii=False) for record in records)
        self._replace("records.jsonl", "".join(line + "\n" for line in lines))

    def records(self) -> list[Record]:
        """The scored records of the last scoring.

        Raises:
            UsageError: the run was never scored, or the file is damaged.
        """
        path = self.path / "records.jsonl"
        if not path.is_file():
            raise UsageError(
                f"run `{self.path}` has no records yet",
                "it was interrupted before scoring",
                f"repeat its command to finish it, or score what is there: evalkit score {self.path}",
            )
        try:
            with open(path, encoding="utf-8", errors=_ERRORS) as lines:
                return [Record.from_json(json.loads(line)) for line in lines]
        except (ValueError, TypeError, KeyError) as error:
            raise self._damaged("records.jsonl", str(error)) from None

    def write_scores(self, scores: Mapping[str, Any]) -> None:
        """Replace ``scores.json``."""
        self._replace("scores.json", json.dumps(scores, indent=2, ensure_ascii=False))

    def write_submission(self, name: str, content: bytes) -> Path:
        """Replace a file of answers to be scored elsewhere; return where it is."""
        (self.path / "submissions").mkdir(parents=True, exist_ok=True)
        return self._replace(f"submissions/{name}", content)

    def _known(self) -> bool:
        return self.begun or (self.path / "journal").is_dir()

    def _load(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8", errors=_ERRORS))
        except FileNotFoundError:
            raise UsageError(
                f"run `{self.path}` has no {name}",
                "it stopped before its samples were planned",
                "repeat its command",
            ) from None
        except ValueError as error:
            raise self._damaged(name, str(error)) from None
        if not isinstance(content, dict):
            raise self._damaged(name, f"it holds a {type(content).__name__} instead of a mapping")
        return content

    def _damaged(self, name: str, why: str) -> UsageError:
        again = f"make it again from the journal: evalkit score {self.path}"
        if name != "records.jsonl":
            again = "delete it and repeat the run's command; the answers in its journal are kept"
        return UsageError(f"`{self.path / name}` is damaged", why, again)

    def _replace(self, name: str, content: str | bytes) -> Path:
        self.path.mkdir(parents=True, exist_ok=True)
        target = self.path / name
        temporary = target.with_name(f".{target.name}.{os.getpid()}{_TEMPORARY}")
        try:
            with open(temporary, "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode("utf-8", _ERRORS))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        return target


def planned(plan: Plan, records: Mapping[str, Record]) -> tuple[list[Record], int]:
    """The records that a plan asks for, in its order, and how many are missing.

    Copies of one checkpoint have the same keys: a record stands in every arm that asks for it,
    whichever of them answered.
    """
    found: list[Record] = []
    missing = 0
    for arm, tasks in plan.items():
        for key in (key for keys in tasks.values() for key in keys):
            if key in records:
                found.append(replace(records[key], arm=arm))
            else:
                missing += 1
    return found, missing


def _strange(folder: Path) -> bool:
    """Whether a folder holds more than what a killed run may have left of its first file."""
    return any(not entry.name.endswith(_TEMPORARY) for entry in folder.iterdir())
