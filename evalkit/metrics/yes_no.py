"""Yes or no: POPE's accuracy, precision, recall and F1."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.metrics.base import Answer, MeanMetric, Score, Scored, breakdown_suffixes, mean_with_breakdown
from evalkit.metrics.yes_no_reading import declines, read_yes_no

_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class PopeAccuracy(MeanMetric):
    """Accuracy of yes/no answers, with precision, recall and F1 of "yes", and the share of "yes".

    The rule of POPE's ``evaluate.py`` (commit 08d957b): in the first sentence, without commas, one of
    the words ``No``, ``no`` and ``not`` means no; everything else means yes. A parse failure, whatever the
    rule takes it for, is a sentence with neither of these nor a yes, an answer that declines to say, and one
    that states the opposite (:func:`.read_yes_no`).

    >>> [PopeAccuracy().score(Answer(text, "yes")).value for text in ("Yes.", "There is not. Yes", "NO")]
    [1.0, 0.0, 1.0]
    """

    name: str = "acc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer; the reference is ``yes`` or ``no``.

        Raises:
            ValueError: it is neither.
        """
        right = yes_or_no_reference(answer.reference)
        sentence = answer.prediction.split(".")[0].replace(",", "")
        said = "no" if {"No", "not", "no"} & set(sentence.split(" ")) else "yes"
        return Score(float(said == right), said, _doubt(answer.prediction, sentence, said), rule="pope")

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """``acc``, ``precision``, ``recall``, ``f1`` and ``yes_ratio``, each with its breakdown; a
        figure is NaN where it would divide by nothing.
        """
        counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for item in items:
            if item.score.value is not None:
                outcome = f"{'right' if item.score.value else 'wrong'} {item.score.parsed}"
                for label in ("", *breakdown_suffixes(item.groups)):
                    counts[label][outcome] += 1
        figures = mean_with_breakdown(self.name, items)
        for label, found in counts.items():
            figures |= {name + label: value for name, value in _ratios(found).items()}
        return figures


def _doubt(text: str, sentence: str, said: str) -> str | None:
    ours = read_yes_no(text)
    if ours.stated and ours.said != said:
        return f"the official rule reads {said}, but the answer seems to say {ours.said} ({ours.rule})"
    if ours.said is None and declines(text):
        return "the answer declines to say"
    if said == "yes" and "yes" not in _WORD.findall(sentence.lower()):
        return "neither yes nor no in the answer"
    return None


def yes_or_no_reference(reference: object) -> str:
    """``yes`` or ``no``; data sets also write 1 and 0.

    Raises:
        ValueError: it is something else.
    """
    known = {"yes": "yes", "no": "no", "1": "yes", "0": "no"}
    right = known.get(str(reference).lower())
    if right is None:
        raise ValueError(f"the reference must be yes or no (or 1 or 0), not {reference!r}")
    return right


def _ratios(counts: Mapping[str, int]) -> dict[str, float]:
    true_yes, false_yes = counts["right yes"], counts["wrong yes"]
    false_no = counts["wrong no"]
    precision = _ratio(true_yes, true_yes + false_yes)
    recall = _ratio(true_yes, true_yes + false_no)
    return {
        "precision": precision,
        "recall": recall,
        "f1": _ratio(2 * precision * recall, precision + recall),
        "yes_ratio": _ratio(true_yes + false_yes, sum(counts.values())),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
