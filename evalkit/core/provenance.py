"""Provenance in a run's manifest: versions, hardware, the command.

The process environment is never read as a whole: a secret that is never read can't leak. The command line,
where a user may have typed one, is scrubbed.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from evalkit.core.console import scrub
from evalkit.core.errors import EnvironmentProblem

TESTED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"torch": ("2.11.0", "2.15.0"), "transformers": ("5.17.0", "5.24.0")}
)
"""The oldest and the newest version that the tests were run with, as `make compat` does."""

_PACKAGES = (
    "evalkit",
    "torch",
    "torchvision",
    "transformers",
    "tokenizers",
    "datasets",
    "numpy",
    "pillow",
    "av",
)


def versions() -> dict[str, str]:
    """Installed versions of the packages that can change a score."""
    found = {package: version for package in _PACKAGES if (version := installed_version(package)) is not None}
    return {"python": platform.python_version(), **found}


def refuse_untried() -> None:
    """Refuse packages that are older than the oldest supported version.

    Raises:
        EnvironmentProblem: one is; what it computes was never tested.
    """
    for package, (oldest, newest) in TESTED.items():
        found = installed_version(package)
        if found is not None and _release(found) < _release(oldest):
            raise EnvironmentProblem(
                f"{package} {found} is too old",
                f"evalkit is tested with {package} {oldest} to {newest}; earlier ones compute other things",
                f"`pip install '{package}>={oldest}'`",
            )


def untested() -> tuple[str, ...]:
    """A note for each package that is newer than the newest version that the tests were run with."""
    return tuple(
        f"{package} {found} is newer than evalkit was tested with ({oldest} to {newest}): "
        f"if in doubt, `pip install {package}=={newest}` and compare"
        for package, (oldest, newest) in TESTED.items()
        if (found := installed_version(package)) is not None and _release(found) > _release(newest)
    )


def installed_version(package: str) -> str | None:
    """The version of an installed package; None if it isn't."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _release(version: str) -> tuple[int, ...]:
    """The first three numbers of a version; a pre-release or a vendor's build counts as its release.

    >>> _release("2.11.0a0+cu130"), _release("5.24")
    ((2, 11, 0), (5, 24, 0))
    """
    found = re.match(r"\d+(?:\.\d+){0,2}", version)
    numbers = [int(each) for each in found.group().split(".")] if found else []
    return (*numbers, *[0] * (3 - len(numbers)))


def hardware() -> dict[str, str]:
    """Processor, number of usable cores and, where torch is loaded and sees them, GPUs."""
    found = {"machine": platform.machine(), "system": platform.system(), "cores": str(usable_cores())}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        found["gpus"] = ", ".join(names)
    return found


def usable_cores() -> int:
    """Cores that this process may use (container and scheduler limits respected)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def command(argv: Sequence[str]) -> str:
    """The command line as stored: the program's name without its folder, secrets scrubbed."""
    return scrub(" ".join([Path(argv[0]).name, *argv[1:]])) if argv else ""


def git_revision(folder: Path) -> str | None:
    """Commit of the checkout that ``folder`` belongs to, with ``+dirty`` if it has changes.

    A package that is installed inside another checkout does not belong to it.
    """
    try:
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603 - fixed words, no shell
        ["git", "-C", str(folder), *words],  # noqa: S607 - the user's own git
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()
