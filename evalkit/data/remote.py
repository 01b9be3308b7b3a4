"""A data set repository on the hub: its commit, its files, and how they are fetched."""

from __future__ import annotations

import glob
import re
import shutil
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from evalkit.core.atomic_files import atomic_path
from evalkit.core.errors import EnvironmentProblem
from evalkit.data.archives import member_problem
from evalkit.data.lock import LockedFile, file_problem

T = TypeVar("T")
_TRIES = 3
_FIX = (
    "check the network, HF_ENDPOINT and (for gated data: accept their terms on the hub) HF_TOKEN; the same "
    "command goes on where it stopped"
)


def find_repository(names: Sequence[str], revision: str, timeout: float | None = None) -> tuple[str, str]:
    """The first of a repository's names that the hub knows, and the commit that ``revision`` is now.

    Raises:
        EnvironmentProblem: the hub can't be reached, or has no such repository or revision.
    """
    first: EnvironmentProblem | None = None
    for name in names:
        try:
            return name, _commit(name, revision, timeout)
        except EnvironmentProblem as problem:
            if not _is_absent(problem):
                raise
            first = first or problem
    assert first is not None
    others = f"; nor is it there as {', '.join(names[1:])}" if names[1:] else ""
    raise EnvironmentProblem(first.what, f"{first.why}{others}", first.fix) from first


@dataclass(frozen=True)
class Remote:
    """One repository at one commit; ``tree``: every file of it by its path."""

    repo: str
    commit: str
    tree: Mapping[str, LockedFile]

    @classmethod
    def at(cls, names: Sequence[str], revision: str) -> Remote:
        """The repository under the first of its ``names`` that the hub knows, at a ``revision``.

        Raises:
            EnvironmentProblem: the hub can't be reached, or has no such repository or revision.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        repo, commit = find_repository(names, revision)

        def files() -> dict[str, LockedFile]:
            found = HfApi().list_repo_tree(repo, recursive=True, revision=commit, repo_type="dataset")
            return {entry.path: _locked(entry) for entry in found if isinstance(entry, RepoFile)}

        with _problems(repo):
            return cls(repo, commit, _in_time(files))

    def data_files(self, config: str | None, split: str) -> tuple[str, ...]:
        """Paths of one split's data files, by the repository's card or the files' names.

        Raises:
            EnvironmentProblem: there is no such configuration or split.
        """
        from datasets import load_dataset_builder

        with _problems(self.repo):
            builder = _in_time(lambda: load_dataset_builder(self.repo, config, revision=self.commit))
        found: Mapping[str, Iterable[str]] = builder.config.data_files or {}
        if split not in found:
            raise EnvironmentProblem(
                f"data set `{self.repo}`",
                f"it has no split `{split}`, only {', '.join(map(str, found))}",
                "use the repository and revision that the task declares (`evalkit tasks show NAME`)",
            )
        return tuple(str(url).partition(f"@{self.commit}/")[2] for url in found[split])

    def matching(self, patterns: Iterable[str]) -> list[str]:
        """Paths that match any of the globs, in the syntax of :meth:`pathlib.Path.glob`."""
        found = [re.compile(_regex(pattern)) for pattern in patterns]
        return [path for path in self.tree if any(pattern.fullmatch(path) for pattern in found)]

    def fetch(self, paths: Iterable[str], folder: Path) -> list[str]:
        """Bring those files into ``folder`` that aren't there, several at a time; return which were fetched.

        The hub's client takes a dropped connection up where it broke. It compares sizes only: contents are
        checked here, and what arrives damaged is fetched again.

        Raises:
            EnvironmentProblem: one can't be fetched, or arrives damaged again and again.
        """
        from huggingface_hub import snapshot_download

        problems = self._wrong_files(paths, folder)
        wanted, tries = list(problems), 0
        while problems and tries < _TRIES:
            tries += 1
            try:
                with _problems(self.repo):
                    snapshot_download(
                        self.repo,
                        repo_type="dataset",
                        revision=self.commit,
                        local_dir=folder,
                        allow_patterns=_patterns(problems, self.tree),
                    )
            except EnvironmentProblem:
                if tries == _TRIES:
                    raise
            problems = self._wrong_files(problems, folder)
            for path in problems:  # so that no run takes it for whole, and the client fetches it again
                (folder / path).unlink(missing_ok=True)
        for path, problem in problems.items():
            raise EnvironmentProblem(
                f"`{path}` of data set `{self.repo}`", f"after {_TRIES} tries: {problem}", _FIX
            )
        return wanted

    def _wrong_files(self, paths: Iterable[str], folder: Path) -> dict[str, str]:
        """Missing and damaged files with their problem, by path."""
        found = {path: file_problem(folder / path, self.tree[path]) for path in paths}
        return {path: problem for path, problem in found.items() if problem}

    def zip_sizes(self, path: str) -> dict[str, int]:
        """The members of a zip archive and their sizes, read from its end alone."""
        with self._zip(path) as opened:
            return {each.filename: each.file_size for each in opened.infolist() if not each.is_dir()}

    def extract_members(
        self, path: str, members: Iterable[str], folder: Path, done: Callable[[str], None]
    ) -> None:
        """Bring some members of a zip archive into ``folder``, without the rest of it.

        ``ZipFile`` checks every member's CRC; a member appears under its name when it is whole.
        """
        with self._zip(path) as opened:
            for name in members:
                target = folder / name
                reason = member_problem(opened.getinfo(name))
                if reason:
                    raise EnvironmentProblem(
                        f"archive `{path}` of `{self.repo}`",
                        f"its member {name!r} {reason}",
                        "don't use it",
                    )
                with atomic_path(target) as place, opened.open(name) as source, open(place, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                done(name)

    @contextmanager
    def _zip(self, path: str) -> Iterator[zipfile.ZipFile]:
        from huggingface_hub import HfFileSystem

        with _problems(self.repo, path):
            url = f"datasets/{self.repo}@{self.commit}/{path}"
            with (
                HfFileSystem(skip_instance_cache=True).open(url, "rb") as file,
                zipfile.ZipFile(file) as opened,
            ):
                yield opened


def _patterns(wanted: Iterable[str], tree: Iterable[str]) -> list[str]:
    """``fnmatch`` patterns of exactly the ``wanted`` files of a repository.

    A folder that is wanted as a whole is one pattern, as the client compares every file with every pattern.

    >>> _patterns(["a/1.jpg", "a/b/2.jpg", "c[1].zip"], ["a/1.jpg", "a/b/2.jpg", "c[1].zip", "c1.zip"])
    ['a/*', 'c[[]1].zip']
    """
    chosen = list(wanted)
    there, asked = (
        Counter(folder for path in paths for folder in PurePosixPath(path).parents)
        for paths in (tree, chosen)
    )
    found: dict[str, None] = {}
    for path in chosen:
        folders = reversed(PurePosixPath(path).parents[:-1])  # the last is the repository itself
        whole = next((folder for folder in folders if asked[folder] == there[folder]), None)
        found[f"{glob.escape(str(whole))}/*" if whole else glob.escape(path)] = None
    return list(found)


def _commit(name: str, revision: str, timeout: float | None) -> str:
    from huggingface_hub import HfApi, constants

    seconds = timeout or constants.HF_HUB_ETAG_TIMEOUT
    with _problems(name):
        return str(HfApi().dataset_info(name, revision=revision, timeout=seconds).sha)


def _in_time(ask: Callable[[], T]) -> T:
    """What the hub's client answers; its lists have no time limit of their own, and a server may hang.

    Raises:
        TimeoutError: that took thirty times HF_HUB_ETAG_TIMEOUT, by default five minutes.
    """
    from huggingface_hub import constants

    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that asked
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    seconds = 30 * constants.HF_HUB_ETAG_TIMEOUT
    try:
        return future.result(seconds)
    except TimeoutError:
        raise TimeoutError(f"the server has not answered for {seconds:g} seconds") from None


def _is_absent(problem: EnvironmentProblem) -> bool:
    """Whether the hub has no such repository or revision; a gated one exists."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    cause = problem.__cause__
    absent = isinstance(cause, RepositoryNotFoundError | RevisionNotFoundError)
    return absent and not isinstance(cause, GatedRepoError)


def _locked(entry: Any) -> LockedFile:
    if entry.lfs is not None:
        return LockedFile(entry.size, "sha256", entry.lfs.sha256)
    return LockedFile(entry.size, "git", entry.blob_id)


def _regex(pattern: str) -> str:
    parts = [".*" if part == "**" else re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
             for part in pattern.split("/")]  # fmt: skip
    return "/".join(parts).replace(".*/", "(?:.*/)?")


@contextmanager
def _problems(repo: str, path: str | None = None) -> Iterator[None]:
    """Turn whatever the hub's client and the network raise into one message."""
    try:
        yield
    except EnvironmentProblem:
        raise
    except Exception as error:  # the client has no common base class for what it raises
        what = f"`{path}` of data set `{repo}`" if path else f"data set `{repo}`"
        why = " ".join(str(error).split()) or type(error).__name__
        raise EnvironmentProblem(what, f"{type(error).__name__}: {why}", _FIX) from error
