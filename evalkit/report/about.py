"""What a report page says of its runs: when and how they were made, of what, and by which command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.report.results import Results
from evalkit.store import Invocation, SystemEntry

_PACKAGES = ("evalkit", "torch", "transformers")


@dataclass(frozen=True)
class RunAbout:
    """Where a run's answers come from; each fact is a name and a text, in the order of the page."""

    run: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SystemAbout:
    """A system as the run's manifest names it; ``row`` is the group of training seeds that it is one of."""

    name: str
    model: str
    rope: str
    family: str
    dtype: str
    fingerprint: str
    revision: str
    run: str
    notes: tuple[str, ...] = ()
    row: str = ""


def about_runs(
    origin: Mapping[str, tuple[Results, str]], members: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[RunAbout], list[SystemAbout]]:
    """The runs and the systems of a page. ``origin`` maps a name on the page to its run and name there,
    ``members`` a group of training seeds to the names of its systems, which then are in the order of groups.
    """
    names = {id(results): results.run.name for results, _ in origin.values()}
    runs = {id(results): results for results, _ in origin.values()}
    systems = [
        _system(name, entry, names[id(results)])
        for name, (results, own) in origin.items()
        for entry in results.manifest.arms
        if entry.arm == own
    ]
    facts = {
        key: tuple((name, text) for name, text in _facts(results) if text) for key, results in runs.items()
    }
    if members is not None:
        rows = {name: row for row, own in members.items() for name in own}
        systems = [replace(each, row=rows[each.name]) for each in systems]
        systems.sort(key=lambda each: list(members).index(each.row))
    return [RunAbout(names[key], facts[key]) for key in runs], systems


def _system(name: str, entry: SystemEntry, run: str) -> SystemAbout:
    return SystemAbout(
        name=name,
        model=entry.model,
        rope=entry.rope,
        family=entry.family,
        dtype=_dtype(entry),
        fingerprint=entry.fingerprint[:8],
        revision=(entry.revision or "")[:12],
        run=run,
        notes=entry.notes,
    )


def _facts(results: Results) -> Iterable[tuple[str, str]]:
    """What a manifest says of a run, empty where it says nothing; what differs is listed."""
    manifest, evaluations = results.manifest, results.evaluations
    used = {each.arm for each in evaluations}
    ids = dict.fromkeys(manifest.latest(each.id).id for each in evaluations)
    found = [each for each in manifest.invocations if each.id in ids]
    yield "date", _listed(_day(each) for each in found)
    yield "recipe", _listed(each.protocol.conditions for each in evaluations)
    yield "samples", _listed(str(each.protocol) for each in evaluations)
    yield "dtype", _listed(_dtype(each) for each in manifest.arms if each.arm in used)
    yield "engine", _listed(each.engine for each in found)
    yield "versions", "; ".join(dict.fromkeys(_versions(each) for each in found))
    yield "hardware", _listed(_hardware(each) for each in found)
    yield "command", "\n".join(dict.fromkeys(each.command for each in found))


def _versions(invocation: Invocation) -> str:
    known = {name: invocation.versions[name] for name in _PACKAGES if name in invocation.versions}
    return ", ".join(f"{name} {version}" for name, version in known.items())


def _hardware(invocation: Invocation) -> str:
    return "; ".join(f"{name} {value}" for name, value in invocation.hardware.items())


def _dtype(entry: SystemEntry) -> str:
    return entry.identity.get("dtype", "")


def _day(invocation: Invocation) -> str:
    return (invocation.finished or invocation.started)[:10]


def _listed(texts: Iterable[str]) -> str:
    """The different texts, in order."""
    return ", ".join(dict.fromkeys(text for text in texts if text))
