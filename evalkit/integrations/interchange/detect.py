"""Which program wrote a file of results, and reading it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evalkit.core.errors import UsageError, of_file
from evalkit.data.file_hash import file_hash
from evalkit.integrations.interchange import inspect_log, lmms_samples, vlmevalkit
from evalkit.integrations.interchange.answers import ResultsFile, unreadable

_KNOWN = (
    "lmms-eval's `*_samples_*.jsonl`, VLMEvalKit's `.xlsx`, `.tsv` and `.json`, and Inspect's logs in "
    "`.eval` and `.json`"
)


def is_foreign(path: Path) -> bool:
    """Whether a file is another program's; JSON is told by its first line."""
    suffix = path.suffix.lower()
    if not path.is_file():
        return False
    if suffix == ".jsonl":
        return lmms_samples.is_samples(_first(path))
    return suffix in (".xlsx", ".tsv", ".eval") or (suffix == ".json" and "prediction" not in _first(path))


def read_results(path: Path) -> ResultsFile:
    """Read a file of results.

    Raises:
        UsageError: it can't be read, or no known program wrote it.
    """
    suffix = path.suffix.lower()
    try:
        before = file_hash(path)  # before anything else, so that a missing file is reported as missing
        log = _read(path, suffix)
        if log is not None and file_hash(path) != before:
            raise unreadable(path, "it was changed while it was read", "repeat the command")
    except OSError as error:
        raise of_file(f"results `{path}`", error, "give a readable file") from None
    if log is not None:
        return replace(log, sha256=before)
    if suffix == ".jsonl":
        raise unreadable(
            path,
            "its first line is none of lmms-eval's samples",
            "of predictions with `task`, `prediction` and `reference`, `evalkit score` prints the scores",
        )
    raise unreadable(path, f"`{suffix}` is none of the formats that are known", f"give one of {_KNOWN}")


def _read(path: Path, suffix: str) -> ResultsFile | None:
    """The file's results; None if no known program wrote it."""
    if suffix in (".xlsx", ".tsv") or (suffix == ".json" and _starts_list(path)):
        return vlmevalkit.read(path)
    if suffix in (".eval", ".json"):
        return inspect_log.read(path)
    if suffix == ".jsonl" and lmms_samples.is_samples(_first(path)):
        return lmms_samples.read(path)
    return None


def _starts_list(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def read_results_files(paths: Sequence[Path]) -> list[ResultsFile]:
    """Read files that together hold one model's answers to one task.

    Raises:
        UsageError: one can't be read, or two are of different programs, tasks or models.
    """
    logs = [read_results(path) for path in paths]
    for log in logs[1:]:
        for what in ("source", "task", "model"):
            one, two = getattr(logs[0], what), getattr(log, what)
            if one != two:
                raise UsageError(
                    f"`{logs[0].path}` and `{log.path}` are not parts of one result",
                    f"their {'program' if what == 'source' else what} differs: `{one}` and `{two}`",
                    "import them one by one, under names of their own (`--model`)",
                )
    return logs


def _first(path: Path) -> dict[str, object]:
    """The first line that isn't blank, if it is an object."""
    try:
        with open(path, "rb") as lines:
            line = next((each for each in lines if each.strip()), b"")
        found = json.loads(line.removeprefix(b"\xef\xbb\xbf").decode("utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
