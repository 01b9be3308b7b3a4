"""The manifest of a run directory: what was run, by whom and how. ``docs/manifest.md`` explains it.

A manifest only grows: every command adds an :class:`Invocation`, every new system (a model with a RoPE
variant; stored as ``arm``) a :class:`SystemEntry`, and every set of samples of a task that a system answers
under some protocol an :class:`Evaluation`. Nothing that another command wrote is changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from evalkit.config.recipes import PAPER
from evalkit.config.run_spec import RunSpec
from evalkit.core.console import scrub, scrubbed
from evalkit.core.types import Category
from evalkit.metrics.reasoning import TAGS

FORMAT = 2
IMPORTED = "imported"
"""The family and engine of systems whose answers another program got."""

Status = Literal["running", "complete", "incomplete"]
Range = tuple[float, float]
Typed = Annotated[str, AfterValidator(scrub)]
"""What a user may have typed. A manifest holds no secret, in memory as on disk: a command that is given again
finds what it stored.
"""


def _without_secrets(spec: RunSpec) -> RunSpec:
    return spec.model_copy(update={name: scrubbed(getattr(spec, name)) for name in RunSpec.model_fields})


class ManifestModel(BaseModel):
    """What all parts of a manifest share: frozen, and nothing unknown in them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SystemEntry(ManifestModel):
    """A model with a RoPE variant under one name, and under a ``label`` in tables if it was given one.
    ``identity`` names everything that can change its answers; ``fingerprint`` is the hash over that.
    ``revision`` is the hub commit that was loaded, ``notes`` what a reader must know of the checkpoint, such
    as generation settings that are ignored. ``trained_with`` is the variant that the checkpoint's config
    names, if it is another than ``rope``.
    """

    arm: Typed
    model: Typed
    rope: str
    family: str
    fingerprint: str
    box_space: str
    identity: dict[str, Typed] = Field(default_factory=dict)
    revision: str | None = None
    notes: tuple[Typed, ...] = ()
    trained_with: Typed | None = None
    label: Typed = ""


class TaskEntry(ManifestModel):
    """A benchmark as it was declared when it was run. ``size`` is the number of samples that it has in all;
    ``chosen_by`` says how options were chosen if not by generating, ``scored_by`` which other program scored.
    """

    name: str
    title: str
    category: Category
    paper_row: str | None = None
    metric: str
    range: Range
    size: int | None = None
    dataset: dict[str, Typed] = Field(default_factory=dict)
    licence: str = "unknown"
    max_new_tokens: int
    submission: bool = False
    chosen_by: str | None = None
    scored_by: str | None = None


class Protocol(ManifestModel):
    """Which samples of a task are asked and how they are shown and answered; None is the benchmark's own.
    ``recipe`` is the one that was followed, with what the command changed of it, ``n`` the number of answers
    to each question, and ``answering`` has everything of both that is not evalkit's default.
    ``answered_by`` is the other program that did, with its version; None is evalkit.
    """

    limit: int | None = None
    subset: str | None = None
    max_frames: int | None = None
    visual_tokens: int | None = None
    mc_logits: bool = False
    recipe: Typed = PAPER
    n: Annotated[int, Field(ge=1)] = 1
    answering: dict[str, Typed] = Field(default_factory=dict)
    answered_by: Typed | None = None

    def __str__(self) -> str:
        parts = [self.subset or ("full" if self.limit is None else f"limit-{self.limit}")]
        parts += [f"max-frames-{self.max_frames}"] if self.max_frames else []
        parts += [f"visual-tokens-{self.visual_tokens}"] if self.visual_tokens else []
        parts += ["mc-logits"] if self.mc_logits else []
        parts += [f"recipe-{self.recipe}"] if self.recipe != PAPER else []
        parts += [f"n-{self.n}"] if self.n > 1 else []
        return " ".join([*parts, *([f"by {self.answered_by}"] if self.answered_by else [])])

    @property
    def conditions(self) -> str:
        """The recipe, or the other program whose conditions are its own."""
        return self.recipe if self.answered_by is None else f"{self.answered_by}'s own"

    @property
    def whole(self) -> bool:
        """Whether all samples are asked."""
        return self.limit is None and self.subset is None


class Imported(ManifestModel):
    """Where answers come from that another program got: its name and version, what it calls the task and the
    model, its files with their hashes, whether references are those of the ``data`` or of the ``file``, and
    what a reader must know of them (``notes``): what could not be matched, and where scores differ.
    """

    source: str
    task: Typed
    model: Typed
    files: tuple[Typed, ...]
    references: Literal["data", "file"]
    notes: tuple[Typed, ...] = ()


class ScoredWith(ManifestModel):
    """What scored an evaluation: evalkit's version and the hash over its scoring ``code``; the task's source,
    stored in ``tasks/<task>/``, whose own ``file`` is in it; and the metric, with its parameters if it is one
    of evalkit's. Of another metric, which only the task's code has, ``figures`` are those over the ``count``
    answers with a score; ``by_units`` says that these are no means over answers.
    """

    evalkit: str
    code: str
    task: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    file: str | None = None
    origin: str | None = None
    metric: str
    parameters: dict[str, Any] | None = None
    figures: dict[str, float] | None = None
    count: int = 0
    by_units: bool = False


class Evaluation(ManifestModel):
    """One system on one task under one protocol: the requests in the plan file ``plans/<plan>.json``.

    ``figures`` are those of another program that scored the answers (``task.scored_by``); ``scored_with`` is
    what of evalkit scored them last.
    """

    id: Annotated[int, Field(ge=0)]
    invocation: str
    arm: Typed
    task: TaskEntry
    protocol: Protocol
    samples: Annotated[int, Field(ge=0)]
    plan: str
    tasks_dirs: tuple[Typed, ...] = ()
    figures: dict[str, float] | None = None
    imported: Imported | None = None
    scored_with: ScoredWith | None = None

    @property
    def asked(self) -> int:
        """How many answers there are when it is complete."""
        return self.samples * self.protocol.n

    def same(self, other: Evaluation) -> bool:
        """Whether it is the same system, task, protocol and set of requests."""
        return self._what == other._what

    @property
    def _what(self) -> tuple[Any, ...]:
        # What another program reports first is known only when it has scored.
        unknown = {} if self.task.scored_by is None else {"metric": "", "range": (0.0, 1.0)}
        return self.arm, self.task.model_copy(update=unknown), self.protocol, self.plan, self.tasks_dirs


class Audit(ManifestModel):
    """Answers with a margin below ``margin`` logits, given again alone: how many, and which of them
    (``task/sample``) came out differently.
    """

    margin: float
    repeated: int
    different: tuple[str, ...] = ()


class Inputs(ManifestModel):
    """The files and folders that decided what a command answered, and a digest over their state."""

    paths: tuple[Typed, ...] = ()
    digest: str


class Invocation(ManifestModel):
    """One command: what was typed, where it ran and on what, and which evaluations it covers.

    ``spec`` has every option, ``problems`` says which systems could not be run, and why, ``notes`` which
    packages are newer than evalkit was tested with.
    ``inputs`` are there where a finished command can be repeated without loading anything.
    """

    id: str
    command: Typed
    started: str
    finished: str | None = None
    status: Status = "running"
    spec: Annotated[RunSpec, AfterValidator(_without_secrets)]
    versions: dict[str, str] = Field(default_factory=dict)
    notes: tuple[Typed, ...] = ()
    revision: str | None = None
    hardware: dict[str, str] = Field(default_factory=dict)
    devices: tuple[str, ...] = ()
    engine: str = ""
    evaluations: tuple[int, ...] = ()
    audits: dict[str, Audit] = Field(default_factory=dict)
    problems: tuple[Typed, ...] = ()
    inputs: Inputs | None = None


class Scoring(ManifestModel):
    """How the stored records were scored: settings that change a score, not an answer."""

    official_random: int | None = None
    reasoning: str = TAGS
    rate_limits: dict[str, float] = Field(default_factory=dict)


class Manifest(ManifestModel):
    """Everything needed to repeat a run, and to tell what its numbers are of."""

    format: Literal[2] = 2
    created: str
    scoring: Scoring = Scoring()
    arms: tuple[SystemEntry, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    invocations: tuple[Invocation, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        arms = {each.arm for each in self.arms}
        commands = {each.id for each in self.invocations}
        if len(arms) != len(self.arms):
            raise ValueError("two of its arms have one name")
        for place, each in enumerate(self.evaluations):
            if each.id != place:
                raise ValueError(f"evaluation {place} says it is number {each.id}")
            if each.arm not in arms:
                raise ValueError(f"evaluation {place} is of the arm `{each.arm}`, which is not listed")
            if each.invocation not in commands:
                raise ValueError(f"evaluation {place} is of an invocation that is not listed")
        for command in self.invocations:
            if any(not 0 <= number < len(self.evaluations) for number in command.evaluations):
                raise ValueError(f"invocation `{command.id}` names an evaluation that is not listed")
        return self

    def system(self, name: str) -> SystemEntry:
        """The system of a name."""
        return next(each for each in self.arms if each.arm == name)

    def invocation(self, name: str) -> Invocation:
        """The invocation of an id."""
        return next(each for each in self.invocations if each.id == name)

    def latest(self, evaluation: int) -> Invocation:
        """The last invocation that covers an evaluation."""
        return next(each for each in reversed(self.invocations) if evaluation in each.evaluations)

    def evaluations_of(self, invocation: str) -> list[Evaluation]:
        """What one invocation covers."""
        return [self.evaluations[number] for number in self.invocation(invocation).evaluations]

    def results(self) -> list[Evaluation]:
        """The evaluation that stands for each system and task, in the order in which they were first run: one
        of all samples before a part of them, a larger part before a smaller one, and the last of equal ones.
        """
        best: dict[tuple[str, str], Evaluation] = {}
        for each in self.evaluations:
            known = best.setdefault((each.arm, each.task.name), each)
            if _rank(each) >= _rank(known):
                best[each.arm, each.task.name] = each
        return list(best.values())

    def with_systems(self, arms: Iterable[SystemEntry]) -> Manifest:
        """Add systems."""
        return self._with(arms=(*self.arms, *arms))

    def with_label(self, name: str, label: str) -> Manifest:
        """Give a system a label; it is for display alone, and the last one counts."""
        arms = (each.model_copy(update={"label": label}) if each.arm == name else each for each in self.arms)
        return self._with(arms=tuple(arms))

    def with_invocation(self, entry: Invocation) -> Manifest:
        """Add an invocation, or replace what it wrote of itself before."""
        found = {each.id: each for each in self.invocations} | {entry.id: entry}
        return self._with(invocations=tuple(found.values()))

    def with_evaluations(self, entries: Iterable[Evaluation]) -> Manifest:
        """Add evaluations, or replace what scoring wrote into ones that are there."""
        found = {each.id: each for each in self.evaluations} | {each.id: each for each in entries}
        return self._with(evaluations=tuple(found.values()))

    def with_scoring(self, scoring: Scoring) -> Manifest:
        """Note how the records are scored."""
        return self._with(scoring=scoring)

    def _with(self, **values: Any) -> Manifest:
        return Manifest(**{name: getattr(self, name) for name in type(self).model_fields} | values)


def _rank(evaluation: Evaluation) -> tuple[bool, int]:
    whole = evaluation.protocol.whole
    return whole, 0 if whole else evaluation.samples


def plan_digest(keys: Sequence[str]) -> str:
    """The name of a plan: a hash over its requests' keys."""
    return hashlib.sha256(json.dumps(list(keys)).encode()).hexdigest()[:32]


def tuples(value: Any) -> Any:
    """A JSON value with tuples for lists, which strict models take."""
    if isinstance(value, Mapping):
        return {key: tuples(each) for key, each in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value
