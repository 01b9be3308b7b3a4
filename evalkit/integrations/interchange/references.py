"""Samples made of what a file of another program says of them, where the data are not at hand.

A metric is watched while it looks at such a sample: what it asks for and the file doesn't have would be
guessed.
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
    """A sample; where no answer could be judged, its problem is that."""
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
    """Why a metric can't judge answers by a reference.

    Raises:
        UsageError: it looks for what the file doesn't have.
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
    """Labels of a sample of which none is known, and which of them a metric looked for by name."""

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
    """Options of which none is known; a metric that so much as asks how many there are would go by them."""

    def __getitem__(self, name: str) -> Any:
        self.names.append("")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        self.names.append("")
        return iter(())

    def __len__(self) -> int:
        self.names.append("")
        return 0
