"""The systems of a run: what each is asked, and the loop that answers, stores and audits."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property

from evalkit.config.labels import labels_by_system
from evalkit.config.run_spec import RunSpec, SystemSpec
from evalkit.core.console import scrub
from evalkit.core.errors import EnvironmentProblem
from evalkit.core.types import Response
from evalkit.engine.audit import audit
from evalkit.engine.executors.base import Executor, ModelSpec
from evalkit.engine.responses import error_of
from evalkit.models.base import ModelInfo, fingerprint_of
from evalkit.runner.answering import Answering
from evalkit.runner.engine_options import engine_config_of
from evalkit.runner.inputs import RunInputs
from evalkit.runner.manifest_entries import protocol_of, scoring_of
from evalkit.runner.planned import PlannedRequest, PlannedSystem, RegisteredSystem, system_name
from evalkit.runner.reporter import Reporter
from evalkit.runner.requests import build_requests, check_requests
from evalkit.store import Audit, Evaluation, Invocation, Manifest, Record, RunDir, SystemEntry


@dataclass
class _Registration:
    """What registering systems makes of the manifest and of the command's own entry in it."""

    manifest: Manifest
    invocation: Invocation
    entries: list[SystemEntry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class SystemRun:
    """What one command does to a run directory.

    Attributes:
        spec: the command's options.
        inputs: tasks and samples.
        run: where answers are stored.
        invocation: what the manifest says of the command so far.
        reporter: is told what happens.
        registered: the manifest's entries of this command's systems, by name.
    """

    spec: RunSpec
    inputs: RunInputs
    run: RunDir
    invocation: Invocation
    reporter: Reporter
    registered: dict[str, SystemEntry] = field(default_factory=dict)

    def plan(self, spec: ModelSpec, model_info: ModelInfo) -> PlannedSystem:
        """Render every sample for a system."""
        planned = [
            PlannedRequest(request, task, indexed)
            for task in self.inputs.tasks
            for indexed in self.inputs.samples[task.name]
            for request in build_requests(model_info, task, indexed.sample, self.answering)
        ]
        requests = [each.request for each in planned]
        for note in check_requests(model_info, requests, self.answering.recipe):
            self.reporter.note(f"{system_name(model_info)}: {note}")
        return PlannedSystem(spec, model_info, {each.request.key: each for each in planned})

    @cached_property
    def answering(self) -> Answering:
        """How questions are asked and answered."""
        return Answering.of(self.spec)

    def pending_keys(self, system: PlannedSystem, records: Mapping[str, Record]) -> set[str]:
        """Keys without an answer among the stored records, or with one to be audited; what can't be asked is
        not pending.
        """
        limit = self.spec.audit or 0.0
        return {
            key
            for key, planned in system.requests.items()
            if not planned.problem
            and (key not in records or records[key].failed or _margin_below(records[key].margin, limit))
        }

    def register(self, systems: Sequence[PlannedSystem]) -> list[RegisteredSystem]:
        """Enter systems and the keys of their requests into the manifest, before any is answered; samples
        that can't be asked are stored as errors.
        """
        if self.registered:
            self.run.check_there()
        plans = [
            {name: self.run.write_plan(keys) for name, keys in self._keys_by_task(system).items()}
            for system in systems
        ]
        done: list[_Registration] = []

        def change(manifest: Manifest) -> Manifest:
            done.append(self._registration(manifest, systems, plans))
            return done[-1].manifest

        self.run.update(change, self.invocation.started)
        self.invocation = done[-1].invocation
        self.registered |= {entry.arm: entry for entry in done[-1].entries}
        for note in done[-1].notes:
            self.reporter.note(note)
        registered = [
            RegisteredSystem(entry.arm, system.model_info, system.requests)
            for entry, system in zip(done[-1].entries, systems, strict=True)
        ]
        self._store_unaskable(registered)
        return registered

    def load(self, executor: Executor, systems: Sequence[PlannedSystem]) -> list[RegisteredSystem]:
        """Load as many of the systems as the executor can run side by side, at least the first, and register
        them.

        Raises:
            EvalkitError: the first can't be loaded, or its checkpoint was changed after it was planned.
        """
        lockstep = engine_config_of(self.spec, executor).optimizations.lockstep
        loaded = executor.load([system.spec for system in systems], lockstep=lockstep)
        for system, model_info in zip(systems, loaded, strict=False):
            if system.model_info.fingerprint != model_info.fingerprint:
                raise EnvironmentProblem(
                    f"checkpoint `{model_info.name}` was changed while this command ran",
                    "its files are not those that its answers would be stored for",
                    "give the command again when the checkpoint is complete",
                )
        return self.register(
            [
                PlannedSystem(system.spec, model_info, system.requests)
                for system, model_info in zip(systems, loaded, strict=False)
            ]
        )

    def answer(self, executor: Executor, systems: Sequence[RegisteredSystem]) -> None:
        """Have loaded systems answer what has no answer in the journal yet, and append each batch to it."""
        records = self.run.journal().records
        answered = {key for key, record in records.items() if not record.failed}
        for system in systems:
            settled = answered | {key for key, planned in system.requests.items() if planned.problem}
            if system.model_info.compile_seconds:
                self.reporter.note(f"{system.name}: compiled in {system.model_info.compile_seconds:.1f} s")
            self.reporter.system_started(
                system.name, _count(system.requests), _count(system.requests, settled)
            )
        pending = [
            [
                planned.request
                for key, planned in system.requests.items()
                if key not in answered and not planned.problem
            ]
            for system in systems
        ]
        batches = executor.generate(pending, engine_config_of(self.spec, executor))
        with self.run.writer() as journal, closing(batches):
            for number, responses in batches:
                stored = [record_of(systems[number], response) for response in responses]
                journal.append(stored)
                for record in stored:
                    self.reporter.sample_answered(record.arm, record.task, record.failed)
        if self.spec.audit is not None:
            self._audit(executor, systems, self.spec.audit)
        for system in systems:
            self.reporter.system_finished(system.name)

    def _store_unaskable(self, systems: Sequence[RegisteredSystem]) -> None:
        """Store an error for each sample that can't be asked, once."""
        refused = {
            key: record_of(system, error_of(key, planned.problem))
            for system in systems
            for key, planned in system.requests.items()
            if planned.problem
        }
        stored = self.run.journal().records if refused else {}
        new = [record for key, record in refused.items() if key not in stored]
        if new:
            with self.run.writer() as journal:
                journal.append(new)

    def _audit(self, executor: Executor, systems: Sequence[RegisteredSystem], margin: float) -> None:
        """Answer closer calls again, alone, and note in the manifest which come out differently."""
        records = self.run.journal().records
        close = {key: each for key, each in records.items() if _margin_below(each.margin, margin)}
        requests = [
            [planned.request for key, planned in system.requests.items() if key in close]
            for system in systems
        ]
        tokens = {key: record.token_ids for key, record in close.items()}
        different = audit(executor, requests, tokens, engine_config_of(self.spec, executor))
        audits = dict(self.invocation.audits)
        for system, own, keys in zip(systems, requests, different, strict=True):
            names = tuple(f"{close[key].task}/{close[key].sample_id}" for key in keys)
            audits[system.name] = Audit(margin=margin, repeated=len(own), different=names)
        self.invocation = self.invocation.model_copy(update={"audits": audits})
        self.run.update(lambda manifest: manifest.with_invocation(self.invocation), self.invocation.started)

    def _keys_by_task(self, system: PlannedSystem) -> dict[str, list[str]]:
        keys: dict[str, list[str]] = {task.name: [] for task in self.inputs.tasks}
        for key, planned in system.requests.items():
            keys[planned.task.name].append(key)
        return keys

    def _registration(
        self, manifest: Manifest, systems: Sequence[PlannedSystem], plans: Sequence[Mapping[str, str]]
    ) -> _Registration:
        """The manifest with systems and their evaluations; nothing else is changed."""
        draft = _Registration(manifest.with_scoring(scoring_of(self.spec, manifest)), self.invocation)
        labels = labels_by_system(self.spec)
        for system, own in zip(systems, plans, strict=True):
            entry = self._system_entry(system.model_info, draft)
            if entry.arm not in {each.arm for each in draft.manifest.arms}:
                draft.manifest = draft.manifest.with_systems([entry])
            label = labels.get(SystemSpec(system.spec.model, system.spec.rope))
            if label:
                draft.manifest = draft.manifest.with_label(entry.arm, scrub(label))
            draft.entries.append(entry)
            self._add_evaluations(draft, entry.arm, own)
        return draft

    def _system_entry(self, model_info: ModelInfo, draft: _Registration) -> SystemEntry:
        """What the manifest says of a system. Another checkpoint, or the same under other conditions, has a
        name of its own, with some of its hash: their answers are never mixed.
        """
        fingerprint, identity = self._identity(model_info)
        own = {*self.registered, *(each.arm for each in draft.entries)}
        of_name = {each.arm: each for each in draft.manifest.arms}
        name = system_name(model_info)
        for known in (each for each in of_name.values() if each.arm not in own):
            same = (known.fingerprint, known.rope) == (fingerprint, str(model_info.variant))
            if same and re.sub(r"#[0-9a-f]{6}(-\d+)?$", "", known.arm) == name:
                return known
        if name in of_name:
            other, number = of_name[name], 1
            name = f"{name}#{fingerprint[:6]}"
            while name in of_name:
                number += 1
                name = f"{system_name(model_info)}#{fingerprint[:6]}-{number}"
            if other.arm not in own:
                draft.notes.append(f"{name} is kept apart from {other.arm}: {_differing(other, identity)}")
        return SystemEntry(
            arm=name,
            model=model_info.name,
            rope=str(model_info.variant),
            family=model_info.family,
            fingerprint=fingerprint,
            box_space=model_info.box_space,
            identity=dict(identity),
            revision=model_info.revision,
            notes=tuple(model_info.notes),
            trained_with=model_info.trained_with,
        )

    def _identity(self, model_info: ModelInfo) -> tuple[str, Mapping[str, str]]:
        """The fingerprint and identity of a checkpoint, and of how its answers are chosen."""
        chosen = {"options": "chosen by their letters' logits"} if self.spec.mc_logits else {}
        if not chosen and not self.answering.identity():
            return model_info.fingerprint, model_info.identity
        identity = {**model_info.identity, **chosen, **self.answering.identity()}
        return fingerprint_of(identity), identity

    def _add_evaluations(self, draft: _Registration, system: str, plans: Mapping[str, str]) -> None:
        """Add a system's evaluations, and to this command's entry that it covers them."""
        covered = []
        manifest = draft.manifest.with_invocation(draft.invocation)
        for name, plan in plans.items():
            entry = Evaluation(
                id=len(manifest.evaluations),
                invocation=draft.invocation.id,
                arm=system,
                task=self.inputs.entries[name],
                protocol=protocol_of(self.spec, self.answering, name),
                samples=len(self.inputs.samples[name]),
                plan=plan,
                tasks_dirs=tuple(map(os.path.abspath, self.spec.tasks_dirs)),
            )
            known = next((each for each in manifest.evaluations if each.same(entry)), None)
            if known is None:
                manifest = manifest.with_evaluations([entry])
            covered.append(entry.id if known is None else known.id)
        evaluations = tuple(dict.fromkeys((*draft.invocation.evaluations, *covered)))
        draft.invocation = draft.invocation.model_copy(update={"evaluations": evaluations})
        draft.manifest = manifest.with_invocation(draft.invocation)


def _differing(known: SystemEntry, identity: Mapping[str, str]) -> str:
    """In what a system differs from a stored one of the same name."""
    names = [
        name for name in {**known.identity, **identity} if known.identity.get(name) != identity.get(name)
    ]
    if not known.identity:
        return "an earlier version of evalkit stored it"
    shown = [
        f"{name} ({_short(known.identity.get(name))} there, {_short(identity.get(name))} here)"
        for name in names
    ]
    return f"they differ in {', '.join(shown)}" if shown else "they are copies"


def _short(value: str | None) -> str:
    if value is None:
        return "none"
    return value if len(value) <= 40 else f"{value[:12]}..."


def _margin_below(margin: float | None, limit: float) -> bool:
    return margin is not None and margin < limit


def _count(requests: Mapping[str, PlannedRequest], among: Container[str] | None = None) -> dict[str, int]:
    """Requests of each task, all or only those whose key is in ``among``."""
    found = {planned.task.name: 0 for planned in requests.values()}
    for key, planned in requests.items():
        found[planned.task.name] += among is None or key in among
    return found


def record_of(system: RegisteredSystem, response: Response) -> Record:
    """The record of a response, with all that scoring needs of its sample."""
    planned = system.requests[response.key]
    return Record(
        arm=system.name,
        model=scrub(system.model_info.name),
        rope=str(system.model_info.variant),
        task=planned.task.name,
        sample_id=planned.indexed.sample.id,
        index=planned.indexed.index,
        key=planned.request.key,
        cluster_id=planned.indexed.sample.cluster_id,
        prompt=response.prompt or planned.request.prompt,
        reference=planned.indexed.sample.reference,
        raw=response.text,
        finish_reason=response.finish_reason,
        error=None if response.error is None else scrub(response.error),
        token_ids=response.token_ids,
        prompt_tokens=response.prompt_tokens,
        visual_tokens=response.visual_tokens,
        groups=planned.indexed.sample.groups,
        meta=planned.indexed.sample.meta,
        box_space=system.model_info.box_space,
        media=response.media,
        seconds=response.seconds,
        margin=response.margin,
        repetition=planned.request.repetition,
        margins=response.margins,
    )
