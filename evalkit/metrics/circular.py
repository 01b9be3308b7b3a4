"""MMBench's CircularEval: a question is right if it is right under every rotation of its options."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.metrics import letters
from evalkit.metrics.base import Answer, MeanMetric, Score, Scored, ScoringUnit, mean_with_breakdown
from evalkit.metrics.choice import MultipleChoice, letter_reference

# What names the question that rotations share.
ROTATION_GROUP = "circular_group"


@dataclass(frozen=True)
class CircularAccuracy(MeanMetric):
    """``circular_acc`` over questions, where all rotations must be right; ``vanilla_acc`` over the
    questions as written (the first of each in the order given); ``acc`` over all rotations.

    Rotations share the group ``circular_group``. Letters are read by VLMEvalKit's rules; it asks a
    language model where they fail, and where that fails too draws a letter: such answers are wrong
    here, and :meth:`file_figures` draws for a given seed.
    """

    name: str = "circular_acc"

    def score(self, answer: Answer) -> Score:
        """Judge one rotation of a question.

        Raises:
            ValueError: the reference is not a letter of the options, or the group is missing.
        """
        if not isinstance(answer.groups.get(ROTATION_GROUP), str):
            raise ValueError(f"`{ROTATION_GROUP}` must name the question whose rotation this is")
        return MultipleChoice(letters.mmbench).score(answer)

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """The three figures, each with the breakdown by every other group."""
        questions = _questions(items)
        whole = [Scored(Score(_all_correct(found)), _labels(found[0])) for found in questions]
        first = [Scored(found[0].score, _labels(found[0])) for found in questions]
        every = [Scored(item.score, _labels(item)) for item in items]
        return {
            **mean_with_breakdown(self.name, whole),
            **mean_with_breakdown("vanilla_acc", first),
            **mean_with_breakdown("acc", every),
        }

    def units(self, items: Sequence[Scored]) -> list[ScoringUnit]:
        """One for each question."""
        place = {id(item): number for number, item in enumerate(items)}
        verdicts = [(place[id(found[0])], _all_correct(found)) for found in _questions(items)]
        return [ScoringUnit(number, value) for number, value in verdicts if value is not None]

    def file_figures(
        self, answers: Sequence[Answer], scores: Sequence[Score], seed: int | None
    ) -> dict[str, float]:
        """``official_circular_acc`` and the others for a seed: every unreadable answer draws one of its
        options or ``Z`` (none), in the order given. VLMEvalKit's own draw has no seed, so None gives nothing.
        """
        if seed is None:
            return {}
        generator = random.Random(seed)  # noqa: S311 - stands for the official script's own
        drawn = []
        for answer, score in zip(answers, scores, strict=True):
            if score.parsed is None:
                letter = generator.choice([*answer.options, "Z"])
                score = Score(float(letter == letter_reference(answer)), parsed=letter)
            drawn.append(Scored(score, answer.groups))
        return {f"official_{name}": value for name, value in self.summarise(drawn).items()}


def _questions(items: Sequence[Scored]) -> list[list[Scored]]:
    found: dict[str, list[Scored]] = {}
    for item in items:
        found.setdefault(str(item.groups[ROTATION_GROUP]), []).append(item)
    return list(found.values())


def _all_correct(rotations: Sequence[Scored]) -> float | None:
    """None where one of them failed to run: nothing can be said of the question then."""
    values = [item.score.value for item in rotations]
    return None if None in values else float(all(values))


def _labels(item: Scored) -> Mapping[str, str | tuple[str, ...]]:
    return {name: label for name, label in item.groups.items() if name != ROTATION_GROUP}
