"""A finished command that is given again: nothing is loaded if nothing that decided its answers has changed.

What decided them are the command's options, the code and versions of the libraries, the machine, and files:
checkpoints, data sets, task files. Files are compared by size, times and inode, without being read.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from evalkit import provenance
from evalkit.data.sources import Local
from evalkit.errors import EvalkitError
from evalkit.finish import Outcome, now, stored_outcome
from evalkit.models.base import Card
from evalkit.spec import RunSpec
from evalkit.store import Inputs, Invocation, RunDir
from evalkit.task import Task

# Options that say how a command goes on, not what it answers.
_FREE = {"wait", "output"}


def repeated(run: RunDir, entry: Invocation) -> Outcome | None:
    """What an earlier command with these options stored, if it finished and everything is as it was then."""
    found = _earlier(run, entry.spec)
    if found is None:
        return None
    again = entry.model_copy(
        update={
            name: getattr(found.invocation, name)
            for name in ("status", "evaluations", "audits", "inputs", "revision")
        }
        | {"finished": now()}
    )
    run.update(lambda manifest: manifest.with_invocation(again), again.started)
    return replace(found, invocation=again)


def _earlier(run: RunDir, spec: RunSpec) -> Outcome | None:
    if not run.begun or not run.views_are_current():
        return None
    for entry in reversed(run.manifest().invocations):
        if entry.status == "complete" and entry.inputs is not None and _alike(entry.spec, spec):
            if entry.inputs.digest != _digest(entry.inputs.paths):
                return None
            outcome = stored_outcome(run, entry)
            return None if outcome.missing else outcome
    return None


def inputs_of(spec: RunSpec, tasks: Sequence[Task], cards: Sequence[Card]) -> Inputs | None:
    """The files and folders that decide what a command answers; None if they can't all be told, such as
    those of data that are read from the hub or by another program.
    """
    paths: list[Path] = [Path(folder) for folder in spec.tasks_dirs]
    for card in cards:
        paths += card.files
    for task in tasks:
        if not isinstance(task.dataset, Local):
            return None
        try:
            found = task.dataset.sources(spec.data_root)
        except EvalkitError:
            return None
        if found is None:
            return None
        paths += found
    absolute = tuple(_outermost({path.absolute() for path in paths}))
    return Inputs(paths=absolute, digest=_digest(absolute))


def _alike(stored: RunSpec, spec: RunSpec) -> bool:
    return stored.model_dump(exclude=_FREE) == spec.model_dump(exclude=_FREE)


def _outermost(paths: set[Path]) -> Iterator[str]:
    """Paths that lie in none of the others."""
    return (str(path) for path in sorted(paths) if paths.isdisjoint(path.parents))


def _digest(paths: Iterable[str]) -> str:
    total = hashlib.sha256()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    total.update(repr((platform.node(), visible, sorted(provenance.versions().items()))).encode())
    code = Path(__file__).resolve().parent
    for path in (code, code.parent / "tasks", *map(Path, paths)):
        for line in _states(path):
            total.update(line.encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _states(path: Path) -> Iterator[str]:
    """A line for a file, or for each file below a folder."""
    if path.is_dir():
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(each for each in folders if each != "__pycache__")
            for name in sorted(files):
                yield from _states(Path(folder) / name)
        return
    try:
        found = path.stat()
    except OSError:
        yield f"{path} is not there\n"
    else:
        yield f"{path} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}\n"
