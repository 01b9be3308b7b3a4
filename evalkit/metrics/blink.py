"""BLINK: the unweighted mean over fourteen tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.metrics import letters
from evalkit.metrics.base import Answer, MeanMetric, Score, Scored, ScoringUnit, mean, mean_with_breakdown
from evalkit.metrics.choice import MultipleChoice, letter_reference

# In the order in which the official script adds them up, which decides the last digit.
SUBTASKS = (
    "Visual_Similarity",
    "Counting",
    "Relative_Depth",
    "Jigsaw",
    "Art_Style",
    "Functional_Correspondence",
    "Semantic_Correspondence",
    "Spatial_Relation",
    "Object_Localization",
    "Visual_Correspondence",
    "Multi-view_Reasoning",
    "Relative_Reflectance",
    "Forensic_Detection",
    "IQ_Test",
)
_GROUP = "subtask"


@dataclass(frozen=True)
class BlinkAccuracy(MeanMetric):
    """``macro_acc``, the unweighted mean of the accuracies of BLINK's tasks (group ``subtask``).

    ``acc`` is the mean over questions. :meth:`file_figures` gives ``exact_acc``: a file's texts
    compared with ``(X)`` exactly, as the official script compares what it is handed after its own
    extraction.
    """

    name: str = "macro_acc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer; the reference is ``(B)`` or ``B``.

        Raises:
            ValueError: it is neither.
        """
        return MultipleChoice(letters.blink_reading).score(answer)

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """``macro_acc``, ``acc`` and the breakdown."""
        figures = mean_with_breakdown("acc", items)
        return {self.name: _macro(figures, "acc"), **figures}

    def units(self, items: Sequence[Scored]) -> list[ScoringUnit]:
        """Every answer, weighted so that each task counts alike."""
        sizes: dict[str, int] = {}
        for item in items:
            label = str(item.groups.get(_GROUP))
            sizes[label] = sizes.get(label, 0) + 1
        return [
            ScoringUnit(place, item.score.value, 1 / sizes[str(item.groups.get(_GROUP))])
            for place, item in enumerate(items)
            if item.score.value is not None
        ]

    def file_figures(
        self, answers: Sequence[Answer], scores: Sequence[Score], seed: int | None
    ) -> dict[str, float]:
        """``exact_acc`` and its breakdown."""
        exact = [float(answer.prediction == f"({letter_reference(answer)})") for answer in answers]
        items = [Scored(Score(value), answer.groups) for value, answer in zip(exact, answers, strict=True)]
        figures = mean_with_breakdown("exact_acc", items)
        return {**figures, "exact_acc": _macro(figures, "exact_acc")}


def _macro(figures: dict[str, float], name: str) -> float:
    prefix = f"{name}/{_GROUP}/"
    found = {key.removeprefix(prefix): value for key, value in figures.items() if key.startswith(prefix)}
    order = [label for label in SUBTASKS if label in found] + [x for x in found if x not in SUBTASKS]
    return mean([found[label] for label in order])
