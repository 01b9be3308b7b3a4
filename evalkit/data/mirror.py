"""Local mirrors: finding a repository's folder below a data root."""

from __future__ import annotations

from pathlib import Path

from evalkit.errors import EnvironmentProblem, did_you_mean


def find_mirror(data_root: str, repo: str) -> Path:
    """The folder of ``repo`` (``owner/name``) below ``data_root``.

    Raises:
        EnvironmentProblem: there is no such folder; says which path was expected, what was found
            beside it and how to download it.
    """
    root = Path(data_root).expanduser()
    if not root.is_dir():
        raise EnvironmentProblem(
            f"data root `{data_root}`",
            "there is no such folder",
            "check `--data-root` (or EVALKIT_DATA); without it, data come from the hub",
        )
    folder = root / repo
    if folder.is_dir():
        return folder
    siblings = sorted(f"{path.parent.name}/{path.name}" for path in root.glob("*/*") if path.is_dir())
    raise EnvironmentProblem(
        f"data set `{repo}`",
        f"`{folder}` does not exist.{did_you_mean(repo, siblings)}",
        how_to_get(repo, str(folder)),
    )


def how_to_get(repo: str, folder: str) -> str:
    """The command that downloads a data set repository into a folder."""
    return f"hf download {repo} --repo-type dataset --local-dir {folder}"


def mirror_commit(folder: Path) -> str:
    """The commit that a mirror was downloaded at, as ``hf download --local-dir`` notes it down."""
    for note in sorted((folder / ".cache" / "huggingface" / "download").rglob("*.metadata")):
        commit = note.read_text().partition("\n")[0].strip()
        if commit:
            return commit
    return "unknown (the mirror has no download notes)"
