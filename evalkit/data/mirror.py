"""Local mirrors: finding a repository's folder below a data root, under one of its names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.core.errors import EnvironmentProblem, did_you_mean
from evalkit.data.lock import NAME as LOCK
from evalkit.data.lock import LockedRepo, read_lock


class NoMirror(EnvironmentProblem):
    """A data root has no folder of a data set (exit code 4)."""


@dataclass(frozen=True)
class Mirror:
    """A repository's folder: its name there, and its commit (None: unknown)."""

    name: str
    folder: Path
    commit: str | None

    @property
    def held(self) -> str:
        """The commit in words."""
        return self.commit or "unknown (the mirror has no download notes)"


def find_mirror(data_root: str, names: Sequence[str]) -> Mirror:
    """The mirror below ``data_root`` of a repository that has one or several names (``owner/name``, the
    first is the usual one).

    Raises:
        EnvironmentProblem: there is no such folder (says which path was expected, what was found beside it
            and how to download it), or there are two that may differ.
    """
    root = Path(data_root).expanduser()
    if not root.is_dir():
        raise EnvironmentProblem(
            f"data root `{data_root}`",
            "there is no such folder",
            "check `--data-root` (or EVALKIT_DATA); without it, data come from the hub",
        )
    found = only_mirror(root, names)
    if found:
        return found
    siblings = sorted(f"{path.parent.name}/{path.name}" for path in root.glob("*/*") if path.is_dir())
    others = "".join(f", nor does `{root / name}`" for name in names[1:])
    raise NoMirror(
        f"data set `{names[0]}`",
        f"`{root / names[0]}` does not exist{others}.{did_you_mean(names[0], siblings)}",
        how_to_get(names[0], str(root / names[0])),
    )


def only_mirror(root: Path, names: Sequence[str]) -> Mirror | None:
    """The mirror of a repository; of several under its names, which hold the same commit, the first.

    Raises:
        EnvironmentProblem: there are several, and nothing says that they hold the same.
    """
    there = [name for name in names if (root / name).is_dir()]
    if not there:
        return None
    locked = read_lock(root / LOCK)
    found = [Mirror(name, root / name, _commit(root / name, locked.get(name))) for name in there]
    for other in found[1:]:
        same_folder = other.folder.samefile(found[0].folder)
        if not same_folder and (other.commit is None or other.commit != found[0].commit):
            raise EnvironmentProblem(
                f"data set `{names[0]}`",
                f"there are two mirrors of it, which may differ: `{found[0].folder}` "
                f"(commit {found[0].held}) and `{other.folder}` (commit {other.held})",
                "keep one of them: move the other out of the data root",
            )
    return found[0]


def how_to_get(repo: str, folder: str) -> str:
    """The command that downloads a data set repository into a folder."""
    return f"hf download {repo} --repo-type dataset --local-dir {folder}"


def _commit(folder: Path, locked: LockedRepo | None) -> str | None:
    """The commit in the lock file, or the one that ``hf download --local-dir`` notes down."""
    if locked:
        return locked.commit
    for note in sorted((folder / ".cache" / "huggingface" / "download").rglob("*.metadata")):
        commit = note.read_text().partition("\n")[0].strip()
        if commit:
            return commit
    return None
