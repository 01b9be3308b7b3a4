"""Samples made from another program's file alone, where the task's data are not at hand.

The metric is run once on each with mappings that record what it looks up: a task whose score needs labels or
options that the file doesn't have is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalkit.core.errors import UsageError
from evalkit.core.row_checks import check_reference
from evalkit.core.task import Task
from evalkit.core.types import Sample
from evalkit.data.selection import IndexedSample
from evalkit.integrations.interchange.answers import ForeignAnswer, NotGiven
from evalkit.integrations.interchange.matching import Matches
from evalkit.metrics.base import Answer, Metric, UnitMetric


def from_file(task: Task, answers: Sequence[ForeignAnswer], found: Matches) -> Matches:
    """Take questions, options and references from the file.

    Raises:
        UsageError: the task's score needs more than that.
    """
    _check_together(task)
    for index, answer in enumerate(answers):
        sample = _sample(task, answer)
        found.samples.append(IndexedSample(index, sample))
        found.answers[sample.id] = answer
        for text in answer.remarks:
            found.remark(text)
    return found


def _check_together(task: Task) -> None:
    if task.links or task.unit or task.expand or isinstance(task.metric, UnitMetric):
        raise _lacking(task, "which samples belong together")
    if task.category == "grounding":
        raise _lacking(task, "the sizes of images")


def _lacking(task: Task, what: str) -> UsageError:
    return UsageError(
        f"task `{task.name}` with the references of the file",
        f"its score needs what the file doesn't have: {what}",
        "give the data with `--data-root`",
    )


def _sample(task: Task, answer: ForeignAnswer) -> Sample:
    """The sample of an answer; one whose reference the metric can't use has a problem."""
    given = answer.reference
    # Beside options, what was asked is the question; else it may hold them.
    question = answer.question or (answer.prompt if answer.options else "")
    meta: dict[str, Any] = {"question": question} if question else {}
    meta |= {"options": dict(answer.options)} if answer.options else {}
    sample = Sample(answer.id, (), given, answer.id, meta=meta, unit=answer.id)
    if isinstance(given, NotGiven):
        return replace(sample, reference=None, problem="the file has no reference for it")
    why = ""
    for reference in (given, str(given)) if isinstance(given, list) else (given,):
        problem = _problem(task, Answer("", reference, question, answer.options))
        if problem is None:
            return replace(sample, reference=reference)
        why = why or problem
    return replace(sample, reference=None, problem=f"the file's reference can't be used: {why}")


def _problem(task: Task, answer: Answer) -> str | None:
    """Why the metric can't score answers by a reference; None if it can.

    Raises:
        UsageError: it looks up what the file doesn't have.
    """
    labels, options = _Labels(), _Options()
    problem = _judged(task.metric, replace(answer, groups=labels, options=answer.options or options))
    for words, names in (("labels such as", labels.names), ("options", options.names)):
        if names:
            raise _lacking(task, f"{words} {names[0]}".strip())
    return problem


def _judged(metric: Metric, answer: Answer) -> str | None:
    try:
        check_reference(metric, answer)
    except Exception as error:  # noqa: BLE001 - a metric may be a user's own
        return str(error)
    return None


class _Labels(Mapping[str, Any]):
    """Empty labels of a sample that record which of them a metric looks up."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __getitem__(self, name: str) -> Any:
        self.names.append(f"`{name}`")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _Options(_Labels):
    """Empty options that record any use at all: a metric that only counts them depends on them, too."""

    def __getitem__(self, name: str) -> Any:
        self.names.append("")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        self.names.append("")
        return iter(())

    def __len__(self) -> int:
        self.names.append("")
        return 0
