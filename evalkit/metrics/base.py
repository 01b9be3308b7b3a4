"""What every metric shares: the answer it reads, the score it gives, and how scores add up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Answer:
    """One prediction with all that a metric may look at; no model, data set or file is needed.

    ``image_size`` and ``input_size`` are ``(width, height)`` in pixels of the original image and
    of the resized image that the model saw. ``box_space`` names the convention of the
    coordinates in ``prediction``: ``abs`` (pixels of the original), ``abs_resized`` (pixels of
    the resized image), ``norm1000``, ``norm999`` or ``norm1``. ``groups`` has the sample's labels,
    and whatever else ties samples together or says what is asked for. ``extracted`` says that
    ``prediction`` is what some extraction step has made of the model's text.
    """

    prediction: str
    reference: Any
    question: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Any] = field(default_factory=dict)
    image_size: tuple[int, int] | None = None
    input_size: tuple[int, int] | None = None
    box_space: str | None = None
    extracted: bool = False


@dataclass(frozen=True)
class Score:
    """The verdict on one answer.

    ``value`` is None only where there was nothing to score (the sample failed to run).
    ``parsed`` is the answer as it was read (JSON-serialisable); where it could not be read,
    ``parse_error`` says why and ``value`` is what the official rule gives (usually 0).
    ``detail`` holds further per-sample figures ("iou"). ``rule`` names the rule that read the answer,
    where a metric has several.
    """

    value: float | None
    parsed: Any = None
    parse_error: str | None = None
    detail: Mapping[str, float] = field(default_factory=dict)
    rule: str | None = None


@dataclass(frozen=True)
class Scored:
    """A score with the groups of its sample; what aggregation works on."""

    score: Score
    groups: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoringUnit:
    """What a primary figure is the weighted mean of: a verdict on one item or on several together.
    ``place`` is that of (the first of) them among the items.
    """

    place: int
    value: float
    weight: float = 1.0


class Metric(Protocol):
    """A pure judge of answers. ``name`` is the primary figure's name; figures lie in ``range``."""

    @property
    def name(self) -> str: ...

    @property
    def range(self) -> tuple[float, float]: ...

    def score(self, answer: Answer) -> Score:
        """Judge one answer. Never raises on any prediction text."""
        ...

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Return every figure of the benchmark: ``name`` first, then breakdowns as
        ``name/<group>/<label>`` and whatever else its authors report.
        """
        ...


@runtime_checkable
class ReferenceCheck(Protocol):
    """A metric that says beforehand which references no answer could ever be judged by."""

    def check(self, answer: Answer) -> None:
        """Look at everything but the prediction.

        Raises:
            ValueError: answers can't be judged by this reference; says why.
        """
        ...


@runtime_checkable
class FileMetric(Protocol):
    """A metric with official figures that depend on the whole file, such as a seeded guess."""

    def file_figures(
        self, answers: Sequence[Answer], scores: Sequence[Score], seed: int | None
    ) -> dict[str, float]:
        """Return further figures; ``seed`` None is the official script's own."""
        ...


@runtime_checkable
class UnitMetric(Protocol):
    """A metric whose primary figure is not the mean of the answers' values."""

    def units(self, items: Sequence[Scored]) -> list[ScoringUnit]:
        """Return what the primary figure is the weighted mean of."""
        ...


@dataclass(frozen=True)
class ExternalScores:
    """What a judge outside of evalkit says of all answers: a score each, figures, the primary one."""

    scores: Sequence[Score]
    figures: Mapping[str, float]
    primary: str


@runtime_checkable
class ExternalMetric(Protocol):
    """A metric that judges all answers of a task together; ``scored_by`` names the program that does."""

    @property
    def scored_by(self) -> str: ...

    def judge(self, answers: Sequence[Answer]) -> ExternalScores:
        """Judge the answers of one model."""
        ...


class MeanMetric:
    """A metric whose primary figure is the mean of the answers' values, from 0 to 1."""

    range: tuple[float, float] = (0.0, 1.0)

    @property
    def name(self) -> str:
        """The figure's name."""
        raise NotImplementedError

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """Mean over all answers and over every label of every group."""
        return mean_with_breakdown(self.name, items)


class TextMetric(MeanMetric):
    """A :class:`MeanMetric` whose reference is a text or a list of accepted texts."""

    def check(self, answer: Answer) -> None:
        """See :class:`ReferenceCheck`."""
        check_texts(answer.reference)


class NoReading(ValueError):
    """A text in which no answer can be read; the message says why."""


def mean(values: Sequence[float]) -> float:
    """Unweighted mean, added up in the order given; NaN for no values.

    Not ``sum``: since Python 3.12 it compensates rounding, and would differ from the official
    scripts (and from itself on 3.11) in the last digit.
    """
    total = 0.0
    for value in values:
        total += value
    return total / len(values) if values else float("nan")


def breakdown_suffixes(groups: Mapping[str, Any]) -> Iterator[str]:
    """Name suffixes of the breakdowns that a sample counts in; a label that is no text (a number, or
    None where there is none) is no breakdown.

    >>> list(breakdown_suffixes({"split": "human", "type": ["bar", "pie"]}))
    ['/split/human', '/type/bar', '/type/pie']
    """
    for group, labels in groups.items():
        for label in group_labels(labels):
            yield f"/{group}/{label}"


def group_labels(labels: Any) -> Sequence[str]:
    """The labels of a sample in one breakdown: one text, or several; nothing else is one.

    >>> group_labels("bar"), group_labels(["bar", None]), group_labels(3)
    (['bar'], ['bar'], [])
    """
    several = labels if isinstance(labels, list | tuple) else [labels]
    return [label for label in several if isinstance(label, str)]


def text_references(reference: Any) -> Sequence[str]:
    """The accepted texts of a reference that is one text or a list of texts.

    Raises:
        ValueError: it is neither, or the list is empty.
    """
    accepted = [reference] if isinstance(reference, str) else reference
    if not isinstance(accepted, list | tuple) or not accepted:
        raise ValueError(f"the reference must be a text or a list of texts, not {reference!r}")
    if not all(isinstance(text, str) for text in accepted):
        raise ValueError(f"the reference must be a text or a list of texts, not {reference!r}")
    return accepted


def finite_score(score: Score) -> Score:
    """A score that JSON can hold: numbers that are not finite are written out, and no figures.

    Raises:
        ValueError: its value is not finite.

    >>> finite_score(Score(1.0, parsed=[float("inf"), 2]))
    Score(value=1.0, parsed=['inf', 2], parse_error=None, detail={}, rule=None)
    """
    if score.value is not None and not math.isfinite(score.value):
        raise ValueError(f"its score is {score.value}")
    detail = {name: value for name, value in score.detail.items() if math.isfinite(value)}
    return replace(score, parsed=_written_out(score.parsed), detail=detail)


def _written_out(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_written_out(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _written_out(each) for name, each in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def check_texts(reference: Any, *, contained: bool = False) -> None:
    """Raise if no answer could be judged by a reference of texts; ``contained``: right is what
    contains one of them, as everything contains an empty one.

    Raises:
        ValueError: it is no text, or the texts are empty.
    """
    empty = [not text.strip() for text in text_references(reference)]
    if all(empty) or (contained and any(empty)):
        raise ValueError(f"an accepted answer is empty: {reference!r}")


def mean_with_breakdown(name: str, items: Sequence[Scored]) -> dict[str, float]:
    """Micro mean over all items, then over every label of every group; NaN for no values.

    Items without a value (failed samples) are left out here and counted by the caller.
    """
    return breakdown_means(name, items, lambda score: score.value) or {name: float("nan")}


def breakdown_means(
    name: str, items: Sequence[Scored], figure: Callable[[Score], float | None]
) -> dict[str, float]:
    """The same of any ``figure`` of the scores; nothing where none has it."""
    members: dict[str, list[float]] = {}
    counted: dict[int, list[list[float]]] = {}  # samples with the same labels often share the mapping of them
    for item in items:
        value = figure(item.score)
        if value is None:
            continue
        known = counted.get(id(item.groups))
        if known is None:
            labels = ("", *breakdown_suffixes(item.groups))
            known = counted[id(item.groups)] = [members.setdefault(name + label, []) for label in labels]
        for values in known:
            values.append(value)
    return {key: mean(values) for key, values in members.items()}
