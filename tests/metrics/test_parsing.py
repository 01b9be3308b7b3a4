"""Answers as models write them, and answers that must not be read as something else."""

from __future__ import annotations

import math

import pytest

from evalkit.metrics import letters
from evalkit.metrics.anls import Anls
from evalkit.metrics.base import Answer, NoReading, Score, Scored, mean
from evalkit.metrics.boxes import BoxAccuracy, iou, parse_box
from evalkit.metrics.choice import MultipleChoice, extract_letter
from evalkit.metrics.flags import is_repeating
from evalkit.metrics.mmmu import MmmuAccuracy, parse_choice, parse_open
from evalkit.metrics.relaxed import RelaxedAccuracy

OPTIONS = {"A": "red", "B": "red car", "C": "a dog", "D": "12"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        (" b ", "B"),
        ("(b)", "B"),
        ("**B**", "B"),
        ("B.", "B"),
        ("B) red car", "B"),
        ("B: because", "B"),
        ("(B) and not (A)", "B"),
        ("The correct answer is B.", "B"),
        ("the best option is: (b)", "B"),
        ("Answer: B", "B"),
        ("**Answer: B**", "B"),
        ("so $\\boxed{B}$", "B"),
        ("\\boxed{\\text{B}}", "B"),
        ("The answer is A. No, wait: the answer is B", "B"),
        ("The answer is A because it is red", "A"),
        ("Option B because it shows a dog", "B"),
        ("A dog is there, so B", "B"),
        ("I would say B", "B"),
        ("not A but B", "B"),
        ("it is a red car", "B"),
        ("DOG? A  Dog!", "C"),
        ("A dog", "C"),
        ("the answer is a dog", "C"),
        ("there are 12", "D"),
        ("", None),
        ("E", None),
        ("A or B", None),
        ("There are 120 of them", None),
        ("I think so", None),
        ("a dog and 12", None),
        ("(A) red\n(B) red car\n(C) a dog", None),
        ("vitamin-C A's plan-B", None),
    ],
)
def test_letters(text: str, letter: str | None) -> None:
    assert extract_letter(text, OPTIONS) == letter


def test_an_unreadable_choice_is_wrong_and_says_so() -> None:
    score = MultipleChoice().score(Answer("no idea", "A", options=OPTIONS))
    assert (score.value, score.parsed) == (0.0, None)
    assert score.parse_error


@pytest.mark.parametrize("reference", ["", "AB", "a", None, ["A"], "Z"])
def test_a_choice_needs_a_letter_as_reference(reference: object) -> None:
    with pytest.raises(ValueError, match="reference"):
        MultipleChoice().score(Answer("A", reference, options=OPTIONS))


def test_videomme_official_accuracy_has_no_value_where_nothing_was_answered() -> None:
    metric = MultipleChoice(letters.video_mme, answered=True)
    items = [Scored(metric.score(Answer("none", "A")), {"duration": "long"})]
    found = metric.summarise(items)
    assert (found["acc"], found["acc/duration/long"]) == (0, 0)
    assert math.isnan(found["official_acc/duration/long"])


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("[10, 20, 30, 40] or maybe [1, 2, 3, 4]", (10, 20, 30, 40)),
        ('[{"bbox_2d": [10, 20, 30, 40], "label": "a"}, {"bbox_2d": [1, 2, 3, 4]}]', (10, 20, 30, 40)),
        ('```json\n[{"bbox_2d": [10, 20, 30, 40], "lab', (10, 20, 30, 40)),
        ("<box>(10,20),(30,40)</box><box>(1,2),(3,4)</box>", (10, 20, 30, 40)),
        ("<box>(10,20),(30,40)", (10, 20, 30, 40)),
        ("<box>10 20 30 40</box>", None),
        ("(10 20 30 40)", (10, 20, 30, 40)),
        ("-1.5, 2e1, .5, 40.", (-1.5, 20, 0.5, 40)),
        ("in 2014 [10, 20, 30, 40]", (10, 20, 30, 40)),
    ],
)
def test_boxes(text: str, box: tuple[float, ...] | None) -> None:
    if box is None:
        with pytest.raises(NoReading):
            parse_box(text)
    else:
        assert parse_box(text) == box


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no box",
        "(12,34)",
        "<box>(12,34)</box>",
        "[1, 2, 3]",
        "[1, 2, 3, 4, 5]",
        "[1, 2, 3, 4, 5, 6, 7, 8]",
        "(1,2),(3,4),(5,6)",
        "(1,2),(3,4),(5,6),(7,8)",
        "[[1,2],[3,4],[5,6],[7,8]]",
        "it lies between 10, 20, 30, 40 and 50",
        "x1=1, y1=2, x2=3, y2=4",
        '{"bbox_2d": [1, 2, null, 4]}',
        '{"bbox_2d": [1, NaN, 3, 4]}',
        "[1e999, 2, 3, 4]",
        '["1", "2", "3", "4"]',
    ],
)
def test_what_could_mean_several_things_is_no_box(text: str) -> None:
    score = BoxAccuracy().score(Answer(text, [1, 2, 3, 4], box_space="abs"))
    assert (score.value, score.parsed, score.detail) == (0.0, None, {"iou": 0.0})
    assert score.parse_error


def test_inverted_corners_are_wrong_and_counted() -> None:
    score = BoxAccuracy().score(Answer("[30, 40, 10, 20]", [10, 20, 30, 40], box_space="abs"))
    assert (score.value, score.parsed) == (0.0, [30, 40, 10, 20])
    assert score.parse_error == "corners are inverted"


def test_box_space_is_never_guessed() -> None:
    """Exact pixels are no thousandths, although they look like them."""
    reference = [100, 100, 300, 300]
    for space, right in (("abs", 1.0), ("norm1000", 0.0), ("norm1", 0.0)):
        answer = Answer("[100, 100, 300, 300]", reference, image_size=(640, 480), box_space=space)
        assert BoxAccuracy().score(answer).value == right
    resized = Answer(
        "[50, 50, 150, 150]", reference, image_size=(640, 480), input_size=(320, 240), box_space="abs_resized"
    )
    assert BoxAccuracy().score(resized).detail["iou"] == 1


def test_an_overlap_of_exactly_one_half_counts() -> None:
    assert iou((0, 0, 10, 10), (0, 0, 10, 5)) == 0.5
    assert BoxAccuracy().score(Answer("[0,0,10,5]", [0, 0, 10, 10], box_space="abs")).value == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"box_space": None},
        {"box_space": "pixels"},
        {"box_space": "norm1000"},
        {"box_space": "abs_resized", "image_size": (3, 4)},
        {"box_space": "abs", "reference": [1, 2, 3]},
        {"box_space": "abs", "reference": "[1, 2, 3, 4]"},
        {"box_space": "abs", "reference": [1, 2, 3, float("nan")]},
    ],
)
def test_what_a_box_needs_is_asked_for_whatever_the_prediction(fields: dict[str, object]) -> None:
    for text in ("[1, 2, 3, 4]", "no box"):
        with pytest.raises(ValueError, match=r"box|size"):
            BoxAccuracy().score(Answer(**{"prediction": text, "reference": [1, 2, 3, 4], **fields}))  # type: ignore[arg-type]


def test_mean_iou_stands_beside_accuracy() -> None:
    metric = BoxAccuracy()
    texts = ("[0,0,10,10]", "[0,0,10,4]", "none")
    scores = [metric.score(Answer(text, [0, 0, 10, 10], box_space="abs")) for text in texts]
    found = metric.summarise([Scored(score, {"split": "a"}) for score in scores])
    assert found["acc@0.5"] == found["acc@0.5/split/a"] == pytest.approx(1 / 3)
    assert found["iou"] == pytest.approx(1.4 / 3)


@pytest.mark.parametrize(
    ("text", "reference", "value"),
    [
        ("2014", "1920", 1.0),  # years get the tolerance too
        ("2014", "1914", 0.0),
        ("12%", "0.12", 1.0),
        ("12%", "12", 0.0),
        ("1,000", "1000", 0.0),
        ("0", "0", 1.0),
        ("0.0", "0", 0.0),
        ("nan", "5", 0.0),
        ("inf", "5", 0.0),
        ("YES", "yes", 1.0),
        ("", "", 1.0),
    ],
)
def test_relaxed(text: str, reference: str, value: float) -> None:
    assert RelaxedAccuracy().score(Answer(text, reference)).value == value


@pytest.mark.parametrize(
    ("text", "reference", "value"),
    [
        ("", [""], 1.0),
        ("", ["x"], 0.0),
        ("ab", ["ax"], 0.5),  # a tie with the threshold is kept
        ("abc", ["axy"], 0.0),
        (" A  B ", ["a b"], 1.0),
        ("ß", ["s"], 0.5),  # the length is that of the upper-cased text, as in the official script
    ],
)
def test_anls(text: str, reference: list[str], value: float) -> None:
    assert Anls().score(Answer(text, reference)).value == value


@pytest.mark.parametrize("metric", [Anls(), RelaxedAccuracy(), MmmuAccuracy()])
@pytest.mark.parametrize("reference", [None, [], 3, ["a", 3], {"a": 1}])
def test_a_text_metric_needs_texts_as_reference(metric: Anls, reference: object) -> None:
    with pytest.raises(ValueError, match="reference"):
        metric.score(Answer("a", reference))


def test_mmmu_choices() -> None:
    options = {"A": "Josef Albers", "B": "George", "C": "x", "D": ""}
    assert parse_choice("(A) no, (B)", options) == "B"
    assert parse_choice("A or B ?", options) == "B"
    assert parse_choice("A) Josef Albers", options) is None
    # An empty option is in every long text; the last place counts, as in the official code.
    assert parse_choice("one two three Josef Albers five six", options) == "D"
    assert parse_choice(" ... B!", options) == "B"
    assert parse_choice("answer:B", options) is None


def test_mmmu_open_answers() -> None:
    assert parse_open("The answer is 1,200 m.") == ["1,200 m", 1200.0, 200.0]
    assert parse_open("first line\nso y = 2.005 = xy") == ["xy"]
    assert parse_open("3.5e2") == [350.0, 3.0, 2.0]  # odd, but official
    assert parse_open("no cue at all") == ["no cue at all"]
    assert parse_open("B") == [" b", "b "]
    metric = MmmuAccuracy()
    assert metric.score(Answer("Step b", "B")).value == 1
    assert metric.score(Answer("blue", "B")).value == 0
    assert metric.score(Answer("nearly 3.43", ["24/7", "3.429"])).value == 1
    assert metric.score(Answer("the result is \nthe answer is tampa bay", ["Tampa"])).value == 1


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("1" * 40, True),
        ("The answer is 3." + "1" * 32, True),
        ("the cat sat on the mat. " * 4, True),
        ("start. " + "a b c d e f g h " * 8 + "a b c", True),
        ('[{"bbox_2d": [10, 20, 30, 40]}, ' * 5, True),
        ("好" * 40, True),
        ("", False),
        (" " * 100, False),
        ("ha ha ha ha ha", False),
        ("1000000000000", False),
        ("0, 0, 0, 0, 0, 0, 0, 0", False),
        ("-" * 60 + "\n| a | b |", False),
        ("no! " * 3, False),
        (", ".join(str(number) for number in range(200)), False),
    ],
)
def test_repeating(text: str, repeats: bool) -> None:
    assert is_repeating(text) is repeats


def test_a_mean_adds_up_from_the_left() -> None:
    assert mean([0.1] * 10) == 0.9999999999999999 / 10
    assert math.isnan(mean([]))


def test_failed_samples_are_left_out_of_a_mean() -> None:
    items = [Scored(Score(1.0), {"g": ("a", "b")}), Scored(Score(None), {"g": "a"})]
    assert Anls().summarise(items) == {"anls": 1.0, "anls/g/a": 1.0, "anls/g/b": 1.0}
