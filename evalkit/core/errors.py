"""Errors that a user can cause and mend, and the exit codes they lead to."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line, as documented in ``docs/cli.md``."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    ENVIRONMENT = 4
    INTERRUPTED = 130


class EvalkitError(Exception):
    """Something a user can mend: what was wrong, why, and what to do about it.

    Args:
        what: the thing that failed, naming the object (a task, a path, a file).
        why: the reason, as specific as it is known.
        fix: what to type or change.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(what, why, fix)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        # A name with line feeds must not look like lines of ours.
        what, why, fix = (str(each).replace("\n", "\n    ") for each in (self.what, self.why, self.fix))
        return f"{what}\n  why: {why}\n  fix: {fix}"


class UsageError(EvalkitError):
    """A wrong name, option or configuration (exit code 2)."""


class EnvironmentProblem(EvalkitError):
    """A missing extra, device, data set or unreadable checkpoint (exit code 4)."""

    exit_code = ExitCode.ENVIRONMENT


class RunGone(EnvironmentProblem):
    """A run's folder was removed or renamed while its command ran (exit code 4); nothing can be stored."""


class DeviceLost(EnvironmentProblem):
    """The device of an engine answers no more (exit code 4); only another process can use it again."""


class EngineDied(EnvironmentProblem):
    """An engine's own process died (exit code 4): what it held can be asked again."""


class MediaError(EvalkitError):
    """An image or video that can't be decoded; becomes an error record of its sample."""

    exit_code = ExitCode.INCOMPLETE


class OutOfMemory(Exception):
    """Raised by a model when a batch did not fit; the engine splits the batch and goes on."""


_FIXES = {
    errno.ENOSPC: "free some space, or write elsewhere (`--output`, EVALKIT_CACHE)",
    errno.EDQUOT: "free some space, or write elsewhere (`--output`, EVALKIT_CACHE)",
    errno.EACCES: "give the right to it, or choose another place (`--output`, EVALKIT_CACHE)",
    errno.EPERM: "give the right to it, or choose another place (`--output`, EVALKIT_CACHE)",
    errno.EROFS: "write to another place (`--output`, EVALKIT_CACHE)",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENFILE: "raise the machine's limit on open files",
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f`)",
    errno.ENAMETOOLONG: "give a shorter name",
}


def of_machine(error: OSError | MemoryError | RecursionError) -> EvalkitError:
    """An error of the machine as one of ours, where nothing more specific is known."""
    if isinstance(error, RecursionError):
        return UsageError(
            "an input is nested too deeply", "it holds more levels than can be read", "mend that file"
        )
    if isinstance(error, MemoryError):
        return EnvironmentProblem(
            "the memory is used up", str(error) or "the machine has no more", "ask for less at a time"
        )
    files = " and ".join(f"`{each}`" for each in (error.filename, error.filename2) if each is not None)
    return EnvironmentProblem(
        files or "the machine refused to read or write",
        error.strerror or str(error) or type(error).__name__,
        _FIXES.get(error.errno or 0, "see to the file or folder, and repeat the command"),
    )


def of_file(what: str, error: OSError, fix: str) -> EvalkitError:
    """The error for a given file that can't be read: there is none of that name, or the machine refuses."""
    why = error.strerror or str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return UsageError(what, why, fix)
    return EnvironmentProblem(what, why, _FIXES.get(error.errno or 0, fix))


def unknown_name(what: str, name: str, known: Iterable[str], fix: str) -> UsageError:
    """The error for a ``name`` that is not among the ``known`` ones; ``what`` says what it names."""
    hint = did_you_mean(name, known)
    return UsageError(f"{what} `{name}`", f"there is none of this name.{hint}", fix)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean `x`?`` for the nearest known name, or an empty string.

    >>> did_you_mean("chartq", ["chartqa", "docvqa_val"])
    ' Did you mean `chartqa`?'
    >>> did_you_mean("zzz", ["chartqa"])
    ''
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean `{close[0]}`?" if close else ""
