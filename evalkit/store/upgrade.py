"""Runs that evalkit 0.1 wrote in format 1: one mapping for the whole folder, and one ``plan.json``.

That format kept the last command only. Which protocol earlier ones followed is read off the number of
samples; what it doesn't say (a system's identity) stays empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.config.run_spec import RunSpec
from evalkit.metrics.reasoning import NONE
from evalkit.store.manifest import (
    Audit,
    Evaluation,
    Invocation,
    Manifest,
    Protocol,
    Scoring,
    SystemEntry,
    TaskEntry,
    plan_digest,
    tuples,
)

KeysByTask = Mapping[str, Mapping[str, Sequence[str]]]
_COMMAND = "format-1"


def upgrade_manifest(old: Mapping[str, Any], plan: KeysByTask) -> tuple[Manifest, dict[str, list[str]]]:
    """A manifest of today's format, and its plans by name.

    Raises:
        KeyError, TypeError, ValueError: it is no manifest of format 1.
    """
    spec = RunSpec(**{name: value for name, value in old["spec"].items() if name in RunSpec.model_fields})
    arms = [SystemEntry(**tuples(each)) for each in old["arms"]]
    tasks = {each["name"]: dict(each) for each in old["tasks"]}
    evaluations: list[Evaluation] = []
    plans: dict[str, list[str]] = {}
    for arm in arms:
        for name, keys in plan.get(arm.arm, {}).items():
            digest = plan_digest(keys)
            plans[digest] = list(keys)
            entry = Evaluation(
                id=len(evaluations),
                invocation=_COMMAND,
                arm=arm.arm,
                task=_task(tasks[name]),
                protocol=_protocol(spec, tasks[name], len(keys)),
                samples=len(keys),
                plan=digest,
                tasks_dirs=spec.tasks_dirs,
                figures=tasks[name].get("figures", {}).get(arm.arm),
            )
            evaluations.append(entry)
    command = Invocation(
        id=_COMMAND,
        command=old["command"],
        started=old["created"],
        finished=old.get("finished"),
        status=old["status"],
        spec=spec,
        versions=old.get("versions", {}),
        revision=old.get("revision"),
        hardware=old.get("hardware", {}),
        evaluations=tuple(range(len(evaluations))),
        audits={name: Audit(**tuples(each)) for name, each in old.get("audits", {}).items()},
    )
    # That version read the whole text; `evalkit score RUN --reasoning tags` reads as today's does.
    scoring = Scoring(official_random=spec.official_random, reasoning=NONE)
    manifest = Manifest(
        created=old["created"],
        scoring=scoring,
        arms=tuple(arms),
        evaluations=tuple(evaluations),
        invocations=(command,),
    )
    return manifest, plans


def _task(old: Mapping[str, Any]) -> TaskEntry:
    known = {name: value for name, value in old.items() if name in TaskEntry.model_fields}
    known["range"] = tuple(old["range"])
    return TaskEntry(**known)


def _protocol(spec: RunSpec, task: Mapping[str, Any], samples: int) -> Protocol:
    """The last command's, where the number of samples fits it; else a limit of that number."""
    asked = Protocol(
        max_frames=spec.max_frames, visual_tokens=spec.visual_tokens, mc_logits="chosen_by" in task
    )
    if spec.subset and samples == task["samples"]:
        return asked.model_copy(update={"subset": spec.subset})
    if spec.limit is None and samples == (task.get("size") or task["samples"]):
        return asked
    return asked.model_copy(update={"limit": samples})
