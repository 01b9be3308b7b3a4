"""What the manifest of a run says of a command, its tasks, its protocol and its scoring."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence

from evalkit.config.run_spec import RunSpec
from evalkit.core import provenance
from evalkit.core.errors import UsageError
from evalkit.core.task import Task
from evalkit.data.selection import IndexedSample
from evalkit.metrics.base import ExternalMetric
from evalkit.runner.answering import Answering
from evalkit.runner.requests import option_letters
from evalkit.scoring.finalize import now
from evalkit.store import Invocation, Manifest, Protocol, Scoring, TaskEntry


def new_invocation(spec: RunSpec) -> Invocation:
    """The entry of a command that begins now."""
    started = now()
    return Invocation(
        id=f"{started.replace(':', '').replace('-', '')[:15]}-{secrets.token_hex(3)}",
        command=provenance.command(sys.argv),
        started=started,
        spec=spec,
        versions=provenance.versions(),
        notes=provenance.untested(),
        hardware=provenance.hardware(),
        devices=spec.devices or (spec.device,),
        engine="ray" if spec.executor == "ray" or len(spec.devices) > 1 else "local",
    )


def task_entry(task: Task, samples: Sequence[IndexedSample], mc_logits: bool) -> TaskEntry:
    """The entry of a task; ``samples`` are those that are asked."""
    chosen = mc_logits and any(option_letters(each.sample) for each in samples)
    low, high = task.metric.range
    return TaskEntry(
        name=task.name,
        title=task.title,
        category=task.category,
        paper_row=task.paper_row,
        metric=task.metric.name,
        range=(float(low), float(high)),
        size=task.size,
        dataset={name: str(value) for name, value in task.dataset.describe().items()},
        licence=task.licence,
        max_new_tokens=task.max_new_tokens,
        submission=task.submission is not None,
        chosen_by="option logits" if chosen else None,
        scored_by=task.metric.scored_by if isinstance(task.metric, ExternalMetric) else None,
    )


def protocol_of(spec: RunSpec, answering: Answering, task: str) -> Protocol:
    """Which samples of a task a command asks, and how."""
    own = answering.for_task(task)
    return Protocol(
        limit=spec.limit,
        subset=spec.subset,
        max_frames=spec.max_frames,
        visual_tokens=spec.visual_tokens,
        mc_logits=spec.mc_logits,
        recipe=answering.label,
        n=own.n,
        answering={**own.described(), **answering.chat.identity()},
    )


def scoring_of(spec: RunSpec, manifest: Manifest) -> Scoring:
    """How a run is scored: in one way for all of its commands, but for limits on rates, which change no score
    and are those given last.

    Raises:
        UsageError: it is scored already, and the command says otherwise.
    """
    asked = spec.given_options()
    given = {name: asked[name] for name in Scoring.model_fields if asked.get(name) not in (None, {})}
    stored = manifest.scoring
    for name in given if manifest.evaluations else ():
        if name != "rate_limits" and given[name] != getattr(stored, name):
            option, known = f"--{name.replace('_', '-')}", getattr(stored, name)
            known = "none" if known is None else known
            raise UsageError(
                f"`{option} {given[name]}`",
                f"this run was scored with {known}, and a run is scored in one way",
                f"score all of it anew (`evalkit score RUN {option} ...`), or choose another `--output`",
            )
    return stored.model_copy(update=given)
