"""The lock file: the commit of every repository in a mirror, with sizes and checksums of its files.

``DATA_ROOT/evalkit.lock.json`` is written by ``evalkit data pull``. It is plain sorted JSON without
times, paths or hosts, so that it can be committed: a pull under a lock fetches the commits in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from evalkit.core.atomic_files import write_atomic
from evalkit.core.errors import UsageError
from evalkit.core.strict_json import unique_keys
from evalkit.core.validation import describe_validation_error

NAME = "evalkit.lock.json"


@dataclass(frozen=True)
class LockedFile:
    """Size in bytes, and the hub's checksum: ``sha256`` of the content, or ``git`` (SHA-1 of the blob)."""

    size: int
    kind: str
    checksum: str


@dataclass(frozen=True)
class LockedRepo:
    """One repository: the requested revision, its commit, and the files that were fetched.

    ``splits`` maps ``config/split`` to the data files behind it. ``members`` are media taken out of
    archives that were not fetched whole.
    """

    revision: str
    commit: str
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, LockedFile] = field(default_factory=dict)
    members: Mapping[str, int] = field(default_factory=dict)

    def merged(self, other: LockedRepo) -> LockedRepo:
        """This entry with all that ``other`` (of the same commit) adds; another commit replaces it."""
        if other.commit != self.commit:
            return other
        return LockedRepo(
            other.revision,
            other.commit,
            {**self.splits, **other.splits},
            {**self.files, **other.files},
            {**self.members, **other.members},
        )


class LockFile(BaseModel):
    """The lock file's schema."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    repositories: dict[str, LockedRepo]


def read_lock(path: Path) -> dict[str, LockedRepo]:
    """The entries of a lock file; none where there is no file.

    Raises:
        UsageError: the file is damaged.
    """
    try:
        content = path.read_bytes()
        found = LockFile.model_validate_json(content, strict=True).repositories
        json.loads(content, object_pairs_hook=unique_keys)
        return found
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        why = (
            ": ".join(describe_validation_error(error)) if isinstance(error, ValidationError) else str(error)
        )
        raise UsageError(
            f"lock file `{path}`", f"it can't be read: {why}", "delete it and pull again"
        ) from None


def write_lock(path: Path, entries: Mapping[str, LockedRepo]) -> None:
    """Replace a lock file."""
    content = {
        "format": 1,
        "repositories": {repo: asdict(entry) for repo, entry in sorted(entries.items())},
    }
    write_atomic(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def file_problem(path: Path, expected: LockedFile) -> str | None:
    """Why a file differs from ``expected`` (missing, size, content), or None."""
    try:
        size = path.stat().st_size
    except OSError:
        return "missing"
    if size != expected.size:
        return f"{size} bytes instead of {expected.size}"
    return None if checksum(path, expected.kind) == expected.checksum else "its content is damaged"


def checksum(path: Path, kind: str) -> str:
    """The checksum that the hub gives for a file: ``sha256``, or ``git`` for the SHA-1 of a git blob."""
    total = hashlib.sha256() if kind == "sha256" else hashlib.sha1(usedforsecurity=False)
    if kind == "git":
        total.update(f"blob {path.stat().st_size}\0".encode())
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()
