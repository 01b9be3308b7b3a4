"""The metrics of single benchmarks: what their rules read, refuse and report."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.metrics import letters
from evalkit.metrics.base import Answer, NoReading, Score, Scored
from evalkit.metrics.blink import SUBTASKS, BlinkAccuracy
from evalkit.metrics.choice import MultipleChoice
from evalkit.metrics.circular import CircularAccuracy
from evalkit.metrics.exact import ExactAnswer
from evalkit.metrics.hallusion import HallusionAccuracy
from evalkit.metrics.ocrbench import OcrBenchAccuracy
from evalkit.metrics.points import PointInBox, parse_point
from evalkit.metrics.spans import SpanIou, overlap, parse_span
from evalkit.metrics.tempcompass import TempCompassAccuracy
from evalkit.metrics.vqa import VqaAccuracy, normalise
from evalkit.metrics.yes_no import PopeAccuracy

OPTIONS = {"A": "a red car", "B": "a blue car", "C": "two dogs", "D": "none of these"}


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("The event happens in the 24.3 - 30.4 seconds.", (24.3, 30.4)),
        ("24.3-30.4", (24.3, 30.4)),
        ("24.3s – 30.4s", (24.3, 30.4)),
        ("from 3 to 7.5 seconds", (3, 7.5)),
        ("It starts at 3s and ends at 7.5s.", (3, 7.5)),
        ("Start: 3.0, End: 7.5", (3, 7.5)),
        ('{"start": 3, "end": 7.5}', (3, 7.5)),
        ('```json\n{"start_time": "00:03", "end_time": "00:07.5"}\n```', (3, 7.5)),
        ("<6.0> <11.2>", (6, 11.2)),
        ("<6.0><11.2>", (6, 11.2)),
        ("[6.0, 11.2]", (6, 11.2)),
        ("[[6.0, 11.2], [20, 30]]", (6, 11.2)),
        ("(6, 11)", (6, 11)),
        ("between 6 and 11 seconds", (6, 11)),
        ("01:05.25 - 01:10", (65.25, 70)),
        ("00:01:05 to 00:01:10", (65, 70)),
        ("1 minute 5 seconds to 2 minutes", (65, 120)),
        ("6.0 11.2", (6, 11.2)),
        ("11.2 - 6.0", (6, 11.2)),
        ("The event 'person runs up 2 stairs' happens in the 5.0 - 9.5 seconds.", (5, 9.5)),
    ],
)
def test_every_way_to_write_a_span_is_read(text: str, span: tuple[float, float]) -> None:
    assert parse_span(text) == pytest.approx(span)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I can't tell.",
        "at 7 seconds",
        "1 - 2 - 3",
        "2024-05-01",
        "[1, 2, 3]",
        "1.2.3 - 4",
        "two to three seconds",
        "There are 2 dogs and 3 cats.",
    ],
)
def test_what_is_no_span_or_several_is_refused(text: str) -> None:
    with pytest.raises(NoReading):
        parse_span(text)
    score = SpanIou().score(Answer(text, [1, 2]))
    assert (score.value, bool(score.parse_error)) == (0.0, True)


TIME = st.integers(0, 36000).map(lambda tenths: tenths / 10)
SPAN = st.tuples(TIME, TIME).map(lambda pair: (min(pair), max(pair)))


@given(span=SPAN, other=SPAN)
def test_temporal_overlap_is_symmetric_and_bounded(
    span: tuple[float, float], other: tuple[float, float]
) -> None:
    assert overlap(span, other) == overlap(other, span)
    assert 0 <= overlap(span, other) <= 1
    assert overlap(span, span) == (1 if span[1] > span[0] else 0)


@given(span=SPAN)
def test_a_span_survives_every_way_to_write_it(span: tuple[float, float]) -> None:
    start, end = span
    clock = " - ".join(f"{int(time // 60):02}:{time % 60:04.1f}" for time in span)
    for text in (
        f"{start} - {end}",
        f"from {start}s to {end}s",
        f"[{start}, {end}]",
        f"<{start}> <{end}>",
        clock,
    ):
        assert parse_span(text) == pytest.approx(span)


def test_recalls_count_from_their_threshold_on() -> None:
    scores = [Score(value) for value in (0.3, 0.5, 0.69, 1.0)]
    figures = SpanIou().summarise([Scored(score) for score in scores])
    assert [figures[f"r1@{each}"] for each in (0.3, 0.5, 0.7)] == [1.0, 0.75, 0.25]
    assert figures["miou"] == pytest.approx(0.6225)


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("(10, 20)", (10, 20)),
        ("[10.5, 20]", (10.5, 20)),
        ('```json\n[{"point_2d": [10, 20], "label": "button"}]\n```', (10, 20)),
        ("<point>10 20</point>", (10, 20)),
        ("Click (10,20) to go on.", (10, 20)),
        ("<|box_start|>(10,20)<|box_end|>", (10, 20)),
        ('{"bbox_2d": [0, 10, 20, 30]}', (10, 20)),
        ("(10, 20) is the point (10, 20)", (10, 20)),
    ],
)
def test_every_way_to_write_a_point_is_read(text: str, point: tuple[float, float]) -> None:
    assert parse_point(text) == point


@pytest.mark.parametrize("text", ["", "10", "(1, 2) or (3, 4)", "[1, 2, 3]", "at the top"])
def test_no_point_or_several_are_refused(text: str) -> None:
    with pytest.raises(NoReading):
        parse_point(text)


def test_a_point_on_the_edge_is_inside() -> None:
    for text, value in (("(10, 20)", 1.0), ("(30, 40)", 1.0), ("(30.1, 40)", 0.0)):
        assert PointInBox().score(Answer(text, [10, 20, 30, 40], box_space="abs")).value == value


@given(
    answers=st.lists(st.sampled_from(["a", "b", "two dogs", "Stop!"]), min_size=10, max_size=10),
    shift=st.integers(0, 9),
)
def test_vqa_accuracy_does_not_depend_on_the_order_of_people(answers: list[str], shift: int) -> None:
    metric = VqaAccuracy()
    for text in ("b", "2 dogs", "stop", "nothing"):
        one = metric.score(Answer(text, answers)).value
        other = metric.score(Answer(f"The {text.upper()}. ", answers[shift:] + answers[:shift])).value
        assert one == pytest.approx(other)
        assert one is not None
        assert 0 <= one <= 1


def test_vqa_accuracy_leaves_each_person_out() -> None:
    for same, expected in ((0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)):
        answers = ["yes"] * same + [f"other {number}" for number in range(10 - same)]
        assert VqaAccuracy().score(Answer("yes", answers)).value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("The Dog's bone", "dog 's bone"),
        ("dont", "don't"),
        ("couldn'tve", "couldn't've"),
        ("1,200", "1200"),
        ("3.5", "3.5"),
        ("end.", "end"),
        ("semi-final", "semi final"),
        ("a / b", "b"),
        ("ten", "10"),
        ("somebody'd", "somebodyd"),
    ],
)
def test_evalai_normalisation(text: str, form: str) -> None:
    assert normalise(text) == form


@given(text=st.text(st.characters(codec="ascii"), max_size=40))
def test_normalising_settles(text: str) -> None:
    once = normalise(text)
    assert normalise(once.upper()) == normalise(once)


def test_ocrbench_formulas_mind_case_and_not_spaces() -> None:
    metric = OcrBenchAccuracy()
    formula: dict[str, Any] = {"dataset": "HME100k", "type": "formula"}
    assert metric.score(Answer("so x+Y=2.", ["x + Y = 2"], groups=formula)).value == 1.0
    assert metric.score(Answer("x + y = 2", ["x + Y = 2"], groups=formula)).value == 0.0
    assert metric.score(Answer("Centre\nRight", ["centre right"], groups={"dataset": "svt"})).value == 1.0
    figures = metric.summarise([Scored(Score(1.0), formula), Scored(Score(0.0), {"type": "word"})])
    assert (figures["final_score"], figures["count/type/formula"], figures["acc"]) == (1.0, 1.0, 0.5)


@pytest.mark.parametrize(
    ("text", "said", "clear"),
    [
        ("Yes, there is.", "yes", True),
        ("No", "no", True),
        ("There is not a dog. Yes.", "no", True),
        ("Yes. There is no cat.", "yes", True),
        ("NO", "yes", False),
        ("Maybe", "yes", False),
        ("", "yes", False),
    ],
)
def test_pope_reads_as_its_authors_do(text: str, said: str, clear: bool) -> None:
    score = PopeAccuracy().score(Answer(text, "yes"))
    assert score.parsed == said
    assert (score.parse_error is None) == clear


def test_pope_figures() -> None:
    outcomes = [("yes", "yes")] * 6 + [("yes", "no")] * 2 + [("no", "no")] * 1 + [("no", "yes")] * 3
    items = [
        Scored(PopeAccuracy().score(Answer(text, right)), {"split": "popular"}) for text, right in outcomes
    ]
    figures = PopeAccuracy().summarise(items)
    assert figures["acc"] == pytest.approx(7 / 12)
    assert figures["precision"] == 0.75
    assert figures["recall/split/popular"] == pytest.approx(6 / 9)
    assert figures["f1"] == pytest.approx(2 * 0.75 * (6 / 9) / (0.75 + 6 / 9))
    assert figures["yes_ratio"] == pytest.approx(8 / 12)
    never = PopeAccuracy().summarise([Scored(Score(1.0, "no"))])
    assert math.isnan(never["precision"])


def hallusion(category: str, figure: str, text: str, right: str = "1") -> Scored:
    groups = {
        "category": category,
        "subcategory": "chart",
        "set_id": "0",
        "figure_id": figure,
        "question_id": "0",
        "visual_input": "0" if category == "VS" and figure == "0" else "2" if figure != "0" else "1",
    }
    return Scored(HallusionAccuracy().score(Answer(text, right, groups=groups)), groups)


def test_hallusionbench_counts_pairs_and_figures() -> None:
    items = [
        hallusion("VS", "0", "It can't be determined."),
        hallusion("VS", "1", "Yes."),
        hallusion("VD", "0", "Yes"),
        hallusion("VD", "1", "unclear to me"),
    ]
    assert [item.score.value for item in items] == [1.0, 1.0, 1.0, 0.0]
    assert items[3].score.parse_error
    figures = HallusionAccuracy().summarise(items)
    assert figures["aAcc"] == 0.75
    assert figures["qAcc"] == 0.5
    assert figures["fAcc"] == pytest.approx(2 / 3)
    assert (figures["easy_aAcc"], figures["hard_aAcc"]) == (1.0, 0.5)
    assert not any("set_id" in name for name in figures)


@given(verdicts=st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=6))
def test_circular_accuracy_is_never_above_the_vanilla_one(verdicts: list[list[bool]]) -> None:
    items = [
        Scored(Score(float(right)), {"circular_group": str(question), "category": "x"})
        for question, rotations in enumerate(verdicts)
        for right in rotations
    ]
    metric = CircularAccuracy()
    figures = metric.summarise(items)
    assert figures["circular_acc"] == pytest.approx(sum(map(all, verdicts)) / len(verdicts))
    assert figures["circular_acc"] <= figures["vanilla_acc"]
    units = metric.units(items)
    assert sum(unit.value for unit in units) / len(units) == pytest.approx(figures["circular_acc"])


def test_a_question_with_a_failed_rotation_has_no_verdict() -> None:
    items = [Scored(Score(value), {"circular_group": "1"}) for value in (1.0, None)]
    assert math.isnan(CircularAccuracy().summarise(items)["circular_acc"])
    assert CircularAccuracy().units(items) == []


def test_blink_weighs_tasks_alike() -> None:
    items = [Scored(Score(1.0), {"subtask": SUBTASKS[0]})] * 9 + [
        Scored(Score(0.0), {"subtask": SUBTASKS[1]})
    ]
    figures = BlinkAccuracy().summarise(items)
    assert (figures["macro_acc"], figures["acc"]) == (0.5, 0.9)
    units = BlinkAccuracy().units(items)
    weighted = sum(unit.value * unit.weight for unit in units) / sum(unit.weight for unit in units)
    assert weighted == pytest.approx(0.5)


def test_a_macro_mean_stands_beside_the_micro_mean() -> None:
    items = [Scored(Score(1.0, "A"), {"task": "a"})] * 3 + [Scored(Score(0.0), {"task": "b"})]
    figures = MultipleChoice(macro="task", answered=True).summarise(items)
    assert (figures["acc"], figures["macro_acc"], figures["official_acc"]) == (0.75, 0.5, 1.0)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("It is A blue car", "A"),
        ("It is a blue car", "B"),
        ("B. because of all the things that are in it", None),
        ("The answer is (D).", "D"),
        ("I can't process this file.", "Z"),
        ("Failed to obtain answer via API", None),
        ("a red car or a blue car", None),
        ("x" * 200, None),
    ],
)
def test_mmbench_reads_as_vlmevalkit_does(text: str, letter: str | None) -> None:
    assert letters.mmbench(text, OPTIONS) == letter


CASED = st.sampled_from(["(b)", "b", "b: a blue car", "option b", "the answer is b"])


@given(text=CASED, upper=st.booleans(), space=st.sampled_from(["", " ", "\n"]))
def test_mmstar_ignores_case_and_outer_space(text: str, upper: bool, space: str) -> None:
    shown = space + (text.upper() if upper else text) + space
    assert letters.mmstar(shown, {}) == "B"


def test_tempcompass_takes_captions_in_every_official_form() -> None:
    question = "Which fits?\nCaption A: A dog runs.\nCaption B: A dog (small) sits."
    groups = {"task": "caption_matching"}
    metric = TempCompassAccuracy()
    right = "Caption B: A dog (small) sits."
    for text in (right, "A dog (small) sits.", "Caption B", "Caption B.", "B", "B.", " B\n"):
        assert metric.score(Answer(text, right, question, groups=groups)).value == 1.0, text
    for text in ("Caption A", "A dog runs.", "A"):
        score = metric.score(Answer(text, right, question, groups=groups))
        assert (score.value, score.parse_error) == (0.0, None)
    assert metric.score(Answer("The second one.", right, question, groups=groups)).parse_error


def test_tempcompass_yes_and_no_begin_the_answer() -> None:
    for text, value, read in (("Yes, it does", 1.0, True), ("NO.", 0.0, True), ("It does", 0.0, False)):
        score = TempCompassAccuracy().score(Answer(text, "yes", groups={"task": "yes_no"}))
        assert (score.value, score.parse_error is None) == (value, read)


@given(text=st.sampled_from(["7", "seven", "Seven.", " 7 ", "the seven", "SEVEN!"]))
def test_exact_answers_ignore_case_articles_and_number_words(text: str) -> None:
    assert ExactAnswer().score(Answer(text, "7")).value == 1.0
    assert ExactAnswer().score(Answer(text, "8")).value == 0.0
