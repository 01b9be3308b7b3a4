"""Every setting in which two runs differ: identities, tasks, how they were asked and answered, versions,
engines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.core.errors import UsageError
from evalkit.store import Evaluation, Invocation, Manifest, SystemEntry

# Of a command, what says when and where it ran, and nothing of how.
_CIRCUMSTANCES = {"output", "wait"}


@dataclass(frozen=True)
class SettingDifference:
    """A setting that two runs have different values of; ``where`` it is (a system, a task, the command), None
    for a value that isn't there.
    """

    where: str
    name: str
    first: str | None
    second: str | None


def run_differences(first: Manifest, second: Manifest) -> list[SettingDifference]:
    """The settings in which two runs differ, systems and tasks compared by name; a system that only one run
    has is compared with the only one of the other.

    Raises:
        UsageError: nothing was run in one of them.
    """
    for manifest in (first, second):
        if not manifest.invocations:
            raise UsageError("a run without any command", "nothing was run in it", "give another run")
    return [
        *_systems(first.arms, second.arms),
        *_evaluations(first.results(), second.results()),
        *_compared("scoring", first.scoring.model_dump(), second.scoring.model_dump()),
        *_compared("command", _options(first), _options(second)),
        *_compared("engine", _engine(first), _engine(second)),
        *_compared("versions", _last(first).versions, _last(second).versions),
        *_compared("hardware", _last(first).hardware, _last(second).hardware),
    ]


def _systems(first: Sequence[SystemEntry], second: Sequence[SystemEntry]) -> Iterator[SettingDifference]:
    for where, one, two in _pairs({each.arm: each for each in first}, {each.arm: each for each in second}):
        yield from _compared(where, _described(one), _described(two))


def _described(system: SystemEntry | None) -> dict[str, Any]:
    if system is None:
        return {}
    own = {name: getattr(system, name) for name in ("model", "rope", "family", "box_space", "revision")}
    return {**own, "notes": "; ".join(system.notes) or None, **system.identity}


def _evaluations(first: Sequence[Evaluation], second: Sequence[Evaluation]) -> Iterator[SettingDifference]:
    for where, one, two in _pairs(_by_task(first), _by_task(second)):
        yield from _compared(where, _asked(one), _asked(two))


def _by_task(evaluations: Sequence[Evaluation]) -> dict[str, Evaluation]:
    return {each.task.name: each for each in evaluations}


def _asked(evaluation: Evaluation | None) -> dict[str, Any]:
    """What is said of a task: as it is declared, and how it was asked and answered."""
    if evaluation is None:
        return {}
    protocol = evaluation.protocol.model_dump(exclude={"answering"})
    declared = evaluation.task.model_dump(exclude={"name", "dataset"})
    data = {f"data set: {name}": value for name, value in evaluation.task.dataset.items()}
    # The limit that was in force is the task's.
    own = {name: value for name, value in evaluation.protocol.answering.items() if name != "max_new_tokens"}
    return {**declared, **data, **protocol, **own, "samples": evaluation.samples}


def _options(manifest: Manifest) -> dict[str, Any]:
    return _last(manifest).spec.model_dump(mode="json", exclude=_CIRCUMSTANCES)


def _engine(manifest: Manifest) -> dict[str, Any]:
    last = _last(manifest)
    return {"executor": last.engine, "devices": ", ".join(last.devices)}


def _last(manifest: Manifest) -> Invocation:
    return manifest.invocations[-1]


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What goes by the same name in both; the only one of each, if their names differ; what only one has."""
    if len(first) == len(second) == 1 and set(first) != set(second):
        (one, own), (two, other) = *first.items(), *second.items()
        yield f"{one} / {two}", own, other
        return
    for name in dict.fromkeys((*first, *second)):
        yield name, first.get(name), second.get(name)


def _compared(where: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[SettingDifference]:
    if not first or not second:
        if first or second:
            yield SettingDifference(where, "is there", "yes" if first else None, "yes" if second else None)
        return
    for name in dict.fromkeys((*first, *second)):
        one, two = first.get(name), second.get(name)
        if one != two:
            yield SettingDifference(where, name, _text(one), _text(two))


def _text(value: Any) -> str | None:
    return None if value in (None, "", (), [], {}) else f"{value}"
