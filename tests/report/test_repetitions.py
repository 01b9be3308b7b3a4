"""Several answers to each question: the mean, pass@k (against all draws) and the vote of the majority."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_comparison import record

from evalkit.core.sampling_params import pass_at_k
from evalkit.metrics import letters
from evalkit.metrics.anls import Anls
from evalkit.metrics.base import Score
from evalkit.metrics.choice import MultipleChoice
from evalkit.metrics.circular import CircularAccuracy
from evalkit.report.aggregate import BenchmarkColumn
from evalkit.report.differences import pairs
from evalkit.report.repetitions import mean_cell
from evalkit.store import Record
from evalkit.store.records_table import score_rows

CHOICE = MultipleChoice(letters.video_mme)
COLUMN = BenchmarkColumn("doc", "image", "Doc", "acc", (0.0, 1.0))


@given(outcomes=st.lists(st.booleans(), min_size=1, max_size=7), data=st.data())
def test_pass_at_k_is_the_mean_over_all_choices_of_k_answers(outcomes: list[bool], data: Any) -> None:
    k = data.draw(st.integers(1, len(outcomes)))
    chosen = list(itertools.combinations(outcomes, k))
    assert pass_at_k(len(outcomes), sum(outcomes), k) == pytest.approx(
        float(Fraction(sum(map(any, chosen)), len(chosen)))
    )


def test_pass_at_k_refuses_what_is_not_defined() -> None:
    for n, correct, k in ((3, 1, 4), (3, 4, 1), (3, 1, 0)):
        with pytest.raises(ValueError, match="pass@"):
            pass_at_k(n, correct, k)


def answered(said: Sequence[str], right: str = "A") -> list[Record]:
    """Records of questions with several answers each, a letter each."""
    return [
        record(
            number,
            score=Score(float(letter == right), parsed=letter),
            repetition=repetition,
            key=f"{number}.{repetition}",
        )
        for number, letters_of in enumerate(said)
        for repetition, letter in enumerate(letters_of)
    ]


def test_mean_pass_at_k_and_majority() -> None:
    cell = mean_cell("a", COLUMN, answered(["AAAB", "BBAB", "CCCC", "ABAB"]), 4, CHOICE, n=4)
    assert cell.estimate.value == pytest.approx((3 + 1 + 0 + 2) / 16)
    assert (cell.estimate.n, cell.whole, cell.answers) == (4, True, 16)
    assert cell.repeated["pass@2"] == pytest.approx((1 + 0.5 + 0 + 5 / 6) / 4)
    assert cell.repeated["pass@4"] == pytest.approx(3 / 4)
    assert cell.repeated["maj@4"] == pytest.approx(2 / 4), "of equally common answers the one that came first"
    assert cell.counts["unparsed"] == 0


def test_a_question_without_all_its_answers_counts_as_missing() -> None:
    records = answered(["AA", "AB"])
    lost = replace(records[3], score=Score(None), finish_reason="error", flags=("error",))
    cell = mean_cell("a", COLUMN, [*records[:3], lost], 2, CHOICE, n=2)
    assert (cell.estimate.value, cell.estimate.n, cell.whole) == (1.0, 1, False)
    assert mean_cell("a", COLUMN, records[:3], 2, CHOICE, n=2).estimate.n == 1


def test_scores_between_0_and_1_have_a_mean_and_no_pass_at_k() -> None:
    records = [
        replace(each, score=Score(value, parsed=text))
        for each, value, text in zip(answered(["AA"]), (0.5, 1.0), ("x", "y"), strict=True)
    ]
    cell = mean_cell("a", replace(COLUMN, metric="anls"), records, 1, Anls(), n=2)
    assert cell.estimate.value == 0.75
    assert cell.repeated == {"maj@2": 0.5}


def test_answers_that_are_numbers_have_no_majority() -> None:
    boxes = [replace(each, score=Score(1.0, parsed=[0, 1, 2, 3])) for each in answered(["AA"])]
    assert "maj@2" not in mean_cell("a", COLUMN, boxes, 1, CHOICE, n=2).repeated


def test_a_question_of_several_rotations_is_right_or_wrong_in_each_repetition() -> None:
    """In neither repetition are both rotations right, though the mean of each is a half."""
    metric = CircularAccuracy()
    rotations = [
        record(
            place,
            score=Score(value, parsed="A"),
            repetition=repetition,
            key=f"{place}.{repetition}",
            groups={},
            meta={"links": {"circular_group": "q"}},
        )
        for place, values in enumerate(((1.0, 0.0), (0.0, 1.0)))
        for repetition, value in enumerate(values)
    ]
    column = replace(COLUMN, metric=metric.name)
    cell = mean_cell("a", column, rotations, 2, metric, n=2)
    assert cell.estimate.value == 0.0
    assert cell.repeated["pass@2"] == 0.0


def test_differences_are_between_the_means() -> None:
    first, second = answered(["AB", "BB"]), answered(["AA", "AB"])
    found = pairs(CHOICE, score_rows(first), score_rows(second))
    assert [(pair.first, pair.second) for pair in found] == [(0.5, 1.0), (0.0, 0.5)]
