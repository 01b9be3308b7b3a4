"""ANLS: average normalised Levenshtein similarity, the metric of DocVQA and InfographicVQA."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evalkit.metrics.base import Answer, Score, TextMetric, text_references


@dataclass(frozen=True)
class Anls(TextMetric):
    """The rule of the Robust Reading Competition's own script.

    For every accepted answer, the edit distance between the two texts (lower case, white space
    collapsed) is divided by the length of the longer one *as written*; the best answer counts.
    Similarities below ``threshold`` count as 0; one of exactly ``threshold`` is kept, unlike in
    some other implementations. Two empty texts are equal.

    >>> Anls().score(Answer("  San  diego", ["San Diego", "SD"])).value
    1.0
    >>> Anls().score(Answer("0.22", "0.28")).value
    0.75
    >>> Anls().score(Answer("a horse", ["a cow"])).value
    0.0
    """

    threshold: float = 0.5
    name: str = "anls"

    def score(self, answer: Answer) -> Score:
        """Judge one answer against a text or a list of texts.

        Raises:
            ValueError: the reference is neither.
        """
        text = answer.prediction
        known = text_references(answer.reference)
        similarity = 1 - min(_distance(accepted, text, 1 - self.threshold) for accepted in known)
        return Score(float(similarity) if similarity >= self.threshold else 0.0, parsed=text.strip())


def _distance(accepted: str, text: str, most: float) -> float:
    """Edits per character of the longer text, from 0 (equal). Of texts further apart than ``most`` it is some
    number above that: of a text much longer than the reference no distance is computed.
    """
    from rapidfuzz.distance import Levenshtein

    # The official script takes the length of the upper-cased text, which is longer for "ß" or "ﬁ".
    length = max(len(accepted.upper()), len(text.upper()))
    if length == 0:
        return 0.0
    edits = math.floor(max(0.0, most) * length) + 1  # one more than may count: nothing hangs on rounding
    return float(Levenshtein.distance(_plain(accepted), _plain(text), score_cutoff=edits)) / length


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
