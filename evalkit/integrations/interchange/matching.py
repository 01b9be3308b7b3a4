"""Match the answers in another program's file with the samples of a task.

Nothing is matched on a guess: answers that are left out are counted by reason and named.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evalkit.core.errors import MediaError, UsageError
from evalkit.core.task import Task
from evalkit.core.types import MediaRef, Sample
from evalkit.data.images import image_size
from evalkit.data.selection import IndexedSample
from evalkit.integrations.interchange.agreement import Agreement, agreement
from evalkit.integrations.interchange.answers import ForeignAnswer

_LISTED = 5
_MISPLACED = 0.1
"""Share of contradicted positions above which a file is taken to be in another order than the data."""

_CHANCE = 1e-6
"""How likely answers in a random order may be to fit their positions, and still be taken."""


@dataclass
class Matches:
    """The samples to be answered, and the answers by sample id.

    ``left`` has the names of answers that were left out, by reason; ``remarks`` counts what was done to read
    some.
    """

    samples: list[IndexedSample] = field(default_factory=list)
    answers: dict[str, ForeignAnswer] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)

    def leave(self, reason: str, name: str) -> None:
        """Count an answer that is left out."""
        self.left.setdefault(reason, []).append(name)

    def remark(self, text: str) -> None:
        """Count what was done to read an answer."""
        self.remarks[text] = self.remarks.get(text, 0) + 1


def one_per_sample(
    answers: Iterable[ForeignAnswer], epoch: int | None, found: Matches
) -> list[ForeignAnswer]:
    """One answer for each of the file's samples, of the chosen epoch; several that differ are a problem.

    Raises:
        UsageError: there are several epochs and none is chosen, or not the chosen one.
    """
    answers = list(answers)
    epochs = sorted({each.epoch for each in answers})
    if epoch is None and len(epochs) > 1:
        raise UsageError(
            f"the log has {len(epochs)} epochs",
            "a run has one answer to each sample, and which one stands for it is not ours to guess",
            f"choose one with `--epoch`: {', '.join(map(str, epochs))}",
        )
    if epoch is not None and epoch not in epochs:
        raise UsageError(
            f"epoch {epoch}", f"the file has {', '.join(map(str, epochs))}", "choose one of these"
        )
    by_id: dict[str, list[ForeignAnswer]] = {}
    for each in answers:
        if epoch is not None and each.epoch != epoch:
            found.leave("they are of other epochs", each.where)
        else:
            by_id.setdefault(each.id, []).append(each)
    return [_one(several, found) for several in by_id.values()]


def _one(several: Sequence[ForeignAnswer], found: Matches) -> ForeignAnswer:
    first = several[0]
    if len(several) == 1:
        return first
    if any((each.text, each.problem) != (first.text, first.problem) for each in several):
        places = ", ".join(each.where for each in several[:_LISTED])
        return replace(
            first, text="", problem=f"the file answers it {len(several)} times, differently ({places})"
        )
    for each in several[1:]:
        found.leave("they repeat an answer", each.where)
    return first


def match(task: Task, answers: Sequence[ForeignAnswer], data_root: str | None, found: Matches) -> Matches:
    """Match answers with the samples of a task's data.

    Raises:
        EnvironmentProblem: the data are not there.
        UsageError: the file is of other data, or in another order.
    """
    by_id: dict[str, IndexedSample] = {}
    by_row: list[list[IndexedSample]] = []
    names: list[str | None] = []
    for stored, samples in task.read(data_root):
        row = [
            IndexedSample(len(by_id) + place, _light(task, sample)) for place, sample in enumerate(samples)
        ]
        by_id |= {each.sample.id: each for each in row}
        by_row.append(row)
        names.append(_id_of(task, stored) if len(row) != 1 else None)
    # A row that is expanded into several samples may be one of them itself, under its own id.
    by_row = [
        [by_id[name]] if name is not None and name in by_id else row
        for name, row in zip(names, by_row, strict=True)
    ]
    found.samples = list(by_id.values())
    placed: dict[str, Agreement] = {}
    for answer in answers:
        if answer.position is not None:
            places = by_row[answer.position] if 0 <= answer.position < len(by_row) else []
            kind = _take(answer, places, found)
        else:
            kind = _take(answer, [by_id[answer.id]] if answer.id in by_id else [], found)
        placed[answer.id] = kind
    _check_whole(task, answers, placed, found)
    return found


def _light(task: Task, sample: Sample) -> Sample:
    """A sample without its media, with the size of its image where boxes are asked for."""
    image = next((each for each in sample.parts if isinstance(each, MediaRef) and each.kind == "image"), None)
    bare = replace(sample, parts=())
    if task.category != "grounding" or image is None or sample.meta.get("image_size"):
        return bare
    try:
        return replace(bare, meta={**sample.meta, "image_size": list(image_size(image))})
    except MediaError as error:
        return replace(bare, problem=f"{error.what}: {error.why}")


def _id_of(task: Task, stored: Any) -> str | None:
    """The id of a stored row before it is expanded; None if the task can't say."""
    try:
        return str(task.id(stored))
    except Exception:  # noqa: BLE001 - the task's own code, meant for expanded rows
        return None


def _take(answer: ForeignAnswer, places: Sequence[IndexedSample], found: Matches) -> Agreement:
    """Assign an answer to the one of the candidates that it is to, or leave it out."""
    kinds = {each.sample.id: _compared(each.sample, answer) for each in places}
    fitting = {name: kind for name, kind in kinds.items() if not kind.other}
    strongest = next((kind for kind in Agreement if kind in fitting.values()), None)
    best = {name for name, kind in fitting.items() if kind is strongest}
    if not places:
        found.leave("the data have no such sample", answer.id)
        return Agreement.UNKNOWN
    if not fitting:
        kind = next(iter(kinds.values()))
        found.leave(kind.value, answer.id)
        return kind
    name = next(iter(best))
    kind = fitting[name]
    numbered = answer.position is not None or answer.id.isdecimal()
    if len(best) > 1 or (kind is Agreement.UNKNOWN and numbered):
        found.leave("which sample they are to can't be told: nothing but a number says so", answer.id)
        return Agreement.UNKNOWN
    if name in found.answers:
        found.leave("their sample has an answer already", answer.id)
        return kind
    if kind is Agreement.UNKNOWN:
        found.remark("answers whose question and target can't be compared are matched by their id alone")
    for text in answer.remarks:
        found.remark(text)
    found.answers[name] = answer
    return kind


def _compared(sample: Sample, answer: ForeignAnswer) -> Agreement:
    """The agreement; a sample with a problem takes any answer, since it counts as an error whatever it is."""
    return Agreement.BOTH if sample.problem else agreement(sample, answer)


def _check_whole(
    task: Task, answers: Sequence[ForeignAnswer], placed: Mapping[str, Agreement], found: Matches
) -> None:
    """Refuse a file that is about other data, or in another order."""
    others = sum(kind.other for kind in placed.values())
    by_place = any(each.position is not None for each in answers)
    if by_place and others > _MISPLACED * len(placed):
        raise UsageError(
            f"{others} of {len(placed)} answers are not to the samples at their places in {task.name}",
            f"{_example(found)}; the file is of another task, split or order of the data",
            "give the task and data that it is of (`--task`, `--data-root`), or `--references file`",
        )
    if by_place:
        _drop_ambiguous(placed, bool(others), found)
    if not found.answers or others > len(found.answers):
        raise UsageError(
            f"{len(found.answers)} of {len(placed)} answers are to samples of {task.name}",
            f"{_example(found)}; the file is of another task or other data",
            "give the task and data that it is of (`--task`, `--data-root`), or `--references file`",
        )


def _drop_ambiguous(placed: Mapping[str, Agreement], misplaced: bool, found: Matches) -> None:
    """Leave out answers whose position only a common reference or question confirms.

    Unless all of them together prove the file's order: that needs no contradiction, and a chance below
    ``_CHANCE``.
    """
    samples = {each.sample.id: each.sample for each in found.samples}
    asked = Counter(str(sample.meta.get("question")) for sample in samples.values())
    weak: dict[str, str] = {}
    for name, answer in found.answers.items():
        sample, kind = samples[name], placed[answer.id]
        question = str(sample.meta.get("question"))
        if kind is Agreement.REFERENCE:
            weak[name] = json.dumps(sample.reference)
        elif kind is Agreement.QUESTION and asked[question] > 1:
            weak[name] = question
    shares = (count / len(weak) for count in Counter(weak.values()).values())
    if weak and (misplaced or sum(share * share for share in shares) ** len(weak) > _CHANCE):
        for name in weak:
            answer = found.answers.pop(name)
            found.leave("what speaks for their place is true of others too", answer.id)


def _example(found: Matches) -> str:
    reason, names = max(found.left.items(), key=lambda item: len(item[1]), default=("", []))
    return f"of {len(names)}, such as `{names[0]}`: {reason}" if names else "the file has no answers"


def match_notes(found: Matches) -> list[str]:
    """Footnotes: how many samples have an answer, and what was left out and why, with a few names each."""
    lines = [f"{len(found.answers)} of {len(found.samples)} samples have an answer in the file"]
    missing = [each.sample.id for each in found.samples if each.sample.id not in found.answers]
    if missing:
        lines.append(f"{len(missing)} samples are not in the file: {_named(missing)}")
    for reason, names in found.left.items():
        lines.append(f"{len(names)} answers were left out, since {reason}: {_named(names)}")
    return [*lines, *(f"{count} {text}" for text, count in found.remarks.items())]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(f"`{name}`" for name in names[:_LISTED]) + more
