"""A finished command that is given again: its stored result is returned if nothing it depends on has changed.

It depends on the command's options, the code and versions of the libraries, the machine, and files:
checkpoints, data sets, task files. Files are compared by size, times and inode, without being read.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from evalkit.config.recipes import is_file
from evalkit.config.run_spec import RunSpec
from evalkit.core import provenance
from evalkit.core.dataset import DeclaresSources
from evalkit.core.errors import EvalkitError
from evalkit.core.task import Task
from evalkit.models.base import ModelInfo
from evalkit.scoring.finalize import RunResult, now, stored_result
from evalkit.store import Inputs, Invocation, RunDir

# The files that make a folder a checkpoint.
_CHECKPOINT_MARKERS = {"config.json", "adapter_config.json"}
# Options that change no answer.
_IGNORED_OPTIONS = {"wait", "output", "labels"}


def reuse_finished(run: RunDir, invocation: Invocation) -> RunResult | None:
    """The result of an earlier command with the same options that finished, if nothing has changed since."""
    found = _earlier(run, invocation.spec)
    if found is None:
        return None
    again = invocation.model_copy(
        update={
            name: getattr(found.invocation, name)
            for name in ("status", "evaluations", "audits", "inputs", "revision")
        }
        | {"finished": now()}
    )
    run.update(lambda manifest: manifest.with_invocation(again), again.started)
    return replace(found, invocation=again)


def _earlier(run: RunDir, spec: RunSpec) -> RunResult | None:
    if not run.begun or not run.views_are_current():
        return None
    commands = run.manifest().invocations
    labels = next((entry.spec.labels for entry in reversed(commands) if entry.spec.labels), {})
    if spec.labels and spec.labels != labels:  # the manifest is to have these
        return None
    for entry in reversed(commands):
        if entry.status == "complete" and entry.inputs is not None and _same_options(entry.spec, spec):
            if entry.inputs.digest != _digest(entry.inputs.paths):
                return None
            try:
                outcome = stored_result(run, entry)
            except EvalkitError:  # a view or plan is missing or damaged: the command writes it anew
                return None
            return None if outcome.missing else outcome
    return None


@dataclass
class InputWatch:
    """The state of all files that a command depends on, from before they are read until its end."""

    spec: RunSpec
    tasks: Sequence[Task]
    data: Inputs | None
    model_infos: list[ModelInfo] = field(default_factory=list)
    checkpoints: Inputs | None = None

    @classmethod
    def start(cls, spec: RunSpec, tasks: Sequence[Task]) -> InputWatch:
        """Note the state of tasks and data, before any are read."""
        return cls(spec, tasks, _state_of(_sources(spec, tasks)))

    def set_checkpoints(self, model_infos: Sequence[ModelInfo]) -> None:
        """Note the state of the checkpoints, before they are loaded."""
        self.model_infos = list(model_infos)
        self.checkpoints = _state_of(_files(self.model_infos))

    def unchanged(self) -> Inputs | None:
        """The state of everything if it is as it was; None if something changed, or can change unseen, such
        as data and models of the hub and of other programs.
        """
        data, checkpoints = _sources(self.spec, self.tasks), _files(self.model_infos)
        if self.data is None or data is None or self.checkpoints is None or checkpoints is None:
            return None
        if self.data != _state_of(data) or self.checkpoints != _state_of(checkpoints):
            return None
        return _state_of([*data, *checkpoints])


def _sources(spec: RunSpec, tasks: Sequence[Task]) -> list[Path] | None:
    """Files and folders of the tasks and their data."""
    paths = [Path(folder) for folder in (*spec.tasks_dirs, *spec.ropes_dirs)]
    paths += [Path(spec.recipe).expanduser()] if is_file(spec.recipe) else []
    for task in tasks:
        if not isinstance(task.dataset, DeclaresSources):
            return None
        try:
            found = task.dataset.sources(spec.data_root)
        except EvalkitError:
            return None
        if found is None:
            return None
        paths += found
    return paths


def _files(model_infos: Sequence[ModelInfo]) -> list[Path] | None:
    """Files of the checkpoints."""
    if any(model_info.revision is not None for model_info in model_infos):
        return None
    return [path for model_info in model_infos for path in model_info.files]


def _state_of(paths: Sequence[Path] | None) -> Inputs | None:
    if paths is None:
        return None
    absolute = {path.absolute() for path in paths}
    outermost = tuple(str(path) for path in sorted(absolute) if absolute.isdisjoint(path.parents))
    return Inputs(paths=outermost, digest=_digest(outermost))


def _same_options(stored: RunSpec, spec: RunSpec) -> bool:
    return stored.model_dump(exclude=_IGNORED_OPTIONS) == spec.model_dump(exclude=_IGNORED_OPTIONS)


def _digest(paths: Iterable[str]) -> str:
    total = hashlib.sha256()
    # Relative names mean other things elsewhere, and other GPUs another dtype.
    around = (platform.node(), os.getcwd(), os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    total.update(repr((around, sorted(provenance.versions().items()))).encode("utf-8", "surrogateescape"))
    code = Path(__file__).resolve().parents[1]  # the whole package
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
        return
    yield f"{path} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}\n"
    if path.name in _CHECKPOINT_MARKERS:  # files beside it may be loaded, too
        yield "".join(f"{name}\n" for name in sorted(os.listdir(path.parent)))
