"""The lock file: which commit of every repository a mirror holds, and what its files must be.

``DATA_ROOT/evalkit.lock.json`` is written by ``evalkit data pull``. It is plain sorted JSON without
times, paths or hosts, so that it can be committed: a pull under a lock fetches the commits in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from evalkit.errors import UsageError

NAME = "evalkit.lock.json"
_FORMAT = 1


@dataclass(frozen=True)
class LockedFile:
    """Size in bytes, and the hub's checksum: ``sha256`` of the content, or ``git`` (SHA-1 of the blob)."""

    size: int
    kind: str
    checksum: str


@dataclass(frozen=True)
class LockedRepo:
    """One repository: the revision asked for, the commit that it was, what was fetched of it.

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


def read_lock(path: Path) -> dict[str, LockedRepo]:
    """The entries of a lock file; none where there is no file.

    Raises:
        UsageError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("format") != _FORMAT:
            raise ValueError(f"its format is {content.get('format')!r}")
        return {repo: _entry(raw) for repo, raw in content["repositories"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"lock file `{path}`", f"it can't be read: {error}", "delete it and pull again"
        ) from None


def write_lock(path: Path, entries: Mapping[str, LockedRepo]) -> None:
    """Replace a lock file."""
    content = {
        "format": _FORMAT,
        "repositories": {repo: asdict(entry) for repo, entry in sorted(entries.items())},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fresh.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(fresh, path)


def difference(path: Path, expected: LockedFile) -> str | None:
    """What is wrong with a file, or None: it is missing, has another size or another content."""
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


def _entry(raw: Mapping[str, object]) -> LockedRepo:
    splits, files, members = (dict(raw[name]) for name in ("splits", "files", "members"))  # type: ignore[call-overload]
    return LockedRepo(
        str(raw["revision"]),
        str(raw["commit"]),
        {name: tuple(paths) for name, paths in splits.items()},
        {path: LockedFile(**found) for path, found in files.items()},
        {path: int(size) for path, size in members.items()},
    )
