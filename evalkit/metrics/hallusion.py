"""HallusionBench: yes/no questions in pairs and about the same figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.metrics.base import Answer, MeanMetric, Score, Scored, mean, mean_with_breakdown
from evalkit.metrics.yes_no import yes_or_no_reference
from evalkit.metrics.yes_no_reading import read_yes_no

# What ties questions together; the others of their groups are breakdowns.
LINKS = ("set_id", "figure_id", "question_id", "visual_input")


@dataclass(frozen=True)
class HallusionAccuracy(MeanMetric):
    """``aAcc`` over questions, ``qAcc`` over question pairs and ``fAcc`` over figures, where all
    answers must be right; ``easy_aAcc`` and ``hard_aAcc`` over the pairs' questions with the original
    and with an edited figure (``utils.py`` of HallusionBench, commit 744007c).

    The official script asks GPT-4 what an answer says; :func:`.read_yes_no` stands in for it, and what it
    can't read is unclear. Unclear is right only where a figure would be needed and none is shown
    (category ``VS``, figure 0).
    """

    name: str = "aAcc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer; the reference is ``1`` or ``yes``, ``0`` or ``no``.

        Raises:
            ValueError: it is something else, or a group is missing.
        """
        missing = [name for name in ("category", "subcategory", *LINKS) if name not in answer.groups]
        if missing:
            raise ValueError(f"`group` must have {', '.join(missing)}")
        right = yes_or_no_reference(answer.reference)
        found = read_yes_no(answer.prediction)
        if found.said is None and _without_figure(answer.groups):
            return Score(1.0, parsed="unclear")
        if found.said is None:
            return Score(0.0, parse_error="neither yes nor no can be read in the answer")
        return Score(float(found.said == right), parsed=found.said, rule=found.rule)

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """The five figures, and ``aAcc`` by category and subcategory."""
        shown = [
            Scored(item.score, {name: label for name, label in item.groups.items() if name not in LINKS})
            for item in items
        ]
        edited = [item for item in items if _label(item, "visual_input") == "2"]
        original = [item for item in items if _label(item, "visual_input") != "2"]
        with_figure = [item for item in items if not _without_figure(item.groups)]
        return {
            **mean_with_breakdown(self.name, shown),
            "qAcc": _all_correct(items, "question_id"),
            "fAcc": _all_correct(with_figure, "figure_id"),
            "easy_aAcc": _all_correct(original, "question_id"),
            "hard_aAcc": _all_correct(edited, "question_id"),
        }


def _all_correct(items: Sequence[Scored], link: str) -> float:
    """Share of the items that share a ``link`` (in one set) which are all right."""
    found: dict[tuple[str, ...], list[float]] = {}
    for item in items:
        if item.score.value is not None:
            key = tuple(_label(item, name) for name in ("category", "subcategory", "set_id", link))
            found.setdefault(key, []).append(item.score.value)
    return mean([float(all(values)) for values in found.values()])


def _label(item: Scored, name: str) -> str:
    return str(item.groups[name])


def _without_figure(groups: Mapping[str, object]) -> bool:
    return groups["category"] == "VS" and str(groups["figure_id"]) == "0"
