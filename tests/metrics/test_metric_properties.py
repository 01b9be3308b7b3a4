"""What holds for any answer: bounds, identity, symmetry, and that no text makes a metric fail."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.metrics import letters
from evalkit.metrics.anls import Anls
from evalkit.metrics.base import Answer, Metric, Score, Scored
from evalkit.metrics.blink import BlinkAccuracy
from evalkit.metrics.boxes import BOX_SPACES, BoxAccuracy, iou, parse_box, to_original
from evalkit.metrics.choice import MultipleChoice, extract_letter
from evalkit.metrics.circular import CircularAccuracy
from evalkit.metrics.exact import ExactAnswer
from evalkit.metrics.flags import is_empty, is_repeating
from evalkit.metrics.hallusion import HallusionAccuracy
from evalkit.metrics.mathvista import MathVistaAccuracy
from evalkit.metrics.mmmu import MmmuAccuracy, parse_choice
from evalkit.metrics.ocrbench import OcrBenchAccuracy
from evalkit.metrics.points import PointInBox
from evalkit.metrics.relaxed import RelaxedAccuracy
from evalkit.metrics.spans import SpanIou
from evalkit.metrics.tempcompass import TempCompassAccuracy
from evalkit.metrics.vqa import VqaAccuracy
from evalkit.metrics.yes_no import PopeAccuracy

# Libraries are imported on first use, and the machine may be busy.
settings.register_profile("calm", deadline=None)
settings.load_profile("calm")

ANY_TEXT = st.text() | st.text(alphabet="()[]{}<>|,.:;-+eE0123456789ABCDabcd \n*%$=\ud800ﬁßİ")
WORDS = st.text(alphabet=st.characters(categories=("Ll", "Nd")), min_size=1, max_size=12)
OPTIONS = {"A": "a red car", "B": "a blue car", "C": "two dogs", "D": "none of these"}
BOX = st.tuples(*[st.floats(0, 640)] * 4).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)
SIZE = st.tuples(st.integers(1, 4000), st.integers(1, 4000))
READERS = (letters.video_mme, letters.mmstar, letters.blink, letters.lvbench, letters.mmbench)
FIGURE = dict.fromkeys(("category", "subcategory", "set_id", "figure_id", "question_id", "visual_input"), "1")
CAPTIONS = "Which?\nCaption A: up\nCaption B: down"
MATHS = [
    Answer("", reference, options=options, groups=groups, extracted=extracted)
    for extracted in (False, True)
    for reference, options, groups in (
        ("65°", {"A": "65°", "B": "75°"}, {"question_type": "multi_choice", "answer_type": "text"}),
        ("12", {}, {"question_type": "free_form", "answer_type": "integer", "precision": None}),
        ("1.2", {}, {"question_type": "free_form", "answer_type": "float", "precision": 1.0}),
        ("[0, 2]", {}, {"question_type": "free_form", "answer_type": "list"}),
    )
]
CASES: list[tuple[Metric, Answer]] = [
    (Anls(), Answer("", ["some", "text"])),
    (RelaxedAccuracy(), Answer("", "12%")),
    (MmmuAccuracy(), Answer("", "B", options=OPTIONS)),
    (MmmuAccuracy(), Answer("", ["24/7", "3.429"])),
    (BoxAccuracy(), Answer("", [1, 2, 30, 40], image_size=(64, 48), box_space="norm1000")),
    (BoxAccuracy(), Answer("", [1, 2, 30, 40], box_space="abs")),
    (MultipleChoice(), Answer("", "B", options=OPTIONS)),
    (MultipleChoice(), Answer("", "B")),
    *((MultipleChoice(read, answered=True), Answer("", "B", options=OPTIONS)) for read in READERS),
    *((MultipleChoice(read), Answer("", "(B)")) for read in READERS),
    (BlinkAccuracy(), Answer("", "(B)", options=OPTIONS)),
    (CircularAccuracy(), Answer("", "B", options=OPTIONS, groups={"circular_group": "1"})),
    (VqaAccuracy(), Answer("", ["a dog"] * 6 + ["dogs"] * 4)),
    (OcrBenchAccuracy(), Answer("", ["some text"], groups={"dataset": "svt"})),
    (OcrBenchAccuracy(), Answer("", "x = 2", groups={"dataset": "HME100k"})),
    (ExactAnswer(), Answer("", "2")),
    (ExactAnswer(), Answer("", "B", options=OPTIONS)),
    (PopeAccuracy(), Answer("", "yes")),
    (HallusionAccuracy(), Answer("", "0", groups=FIGURE)),
    (HallusionAccuracy(), Answer("", "1", groups=FIGURE | {"category": "VS", "figure_id": "0"})),
    (TempCompassAccuracy(), Answer("", "A. up", groups={"task": "multi-choice"})),
    (TempCompassAccuracy(), Answer("", "no", groups={"task": "yes_no"})),
    (TempCompassAccuracy(), Answer("", "Caption A: up", CAPTIONS, groups={"task": "caption_matching"})),
    *((MathVistaAccuracy(), answer) for answer in MATHS),
    (SpanIou(), Answer("", [3.5, 7.0])),
    (PointInBox(), Answer("", [1, 2, 30, 40], image_size=(64, 48), box_space="norm1000")),
]


@pytest.mark.parametrize(("metric", "answer"), CASES)
@given(text=ANY_TEXT)
def test_any_text_has_a_score_within_the_range(metric: Metric, answer: Answer, text: str) -> None:
    score = metric.score(replace(answer, prediction=text))
    low, high = metric.range
    assert score.value is not None
    assert low <= score.value <= high
    assert score == metric.score(replace(answer, prediction=text))
    assert all(math.isfinite(figure) for figure in score.detail.values())


@given(text=ANY_TEXT)
def test_flags_take_any_text(text: str) -> None:
    is_repeating(text)
    assert is_empty(text) == (text.strip() == "")


@pytest.mark.parametrize("metric", [case[0] for case in CASES])
def test_nothing_scored_gives_no_number(metric: Metric) -> None:
    assert math.isnan(metric.summarise([])[metric.name])
    groups = {"split": "a", "circular_group": "1", **FIGURE}
    failed = metric.summarise([Scored(Score(None), groups)])
    assert math.isnan(failed[metric.name])


@given(text=st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_a_text_answers_itself(text: str) -> None:
    assert Anls().score(Answer(text, text)).value == 1
    if not math.isnan(_float(text)):
        assert RelaxedAccuracy().score(Answer(text, text)).value == 1


def _float(text: str) -> float:
    try:
        number = float(text.rstrip("%"))
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else math.nan


@given(words=st.lists(WORDS, min_size=1, max_size=5), others=st.lists(WORDS, max_size=3))
def test_anls_ignores_case_and_takes_the_best_reference(words: list[str], others: list[str]) -> None:
    text = " ".join(words)
    shown = text.upper() if text.upper().lower() == text else text
    assert Anls().score(Answer(shown, text)).value == 1
    alone = Anls().score(Answer(text, others or ["x"])).value
    both = Anls().score(Answer(text, [*(others or ["x"]), text])).value
    assert both == 1
    assert alone is not None
    assert alone <= both


@given(target=st.floats(-1e9, 1e9).filter(lambda value: abs(value) > 1e-6), factor=st.floats(0.9501, 1.0499))
def test_relaxed_accuracy_accepts_five_percent(target: float, factor: float) -> None:
    metric = RelaxedAccuracy()
    assert metric.score(Answer(repr(target * factor), repr(target))).value == 1
    assert metric.score(Answer(repr(target * (factor + 0.2)), repr(target))).value == 0


@given(order=st.permutations("ABCD"), right=st.sampled_from("ABCD"))
def test_a_choice_follows_its_option_when_options_are_permuted(order: list[str], right: str) -> None:
    moved = {new: OPTIONS[old] for new, old in zip("ABCD", order, strict=True)}
    letter = next(new for new, text in moved.items() if text == OPTIONS[right])
    for text in (OPTIONS[right], f"I think it shows {OPTIONS[right]}.", f"({letter})", f"{letter}. it is"):
        assert extract_letter(text, moved) == letter
    assert parse_choice(f"in this picture there are or is {OPTIONS[right]}", moved) == letter


@given(box=BOX, other=BOX)
def test_iou_is_symmetric_and_bounded(box: tuple[float, ...], other: tuple[float, ...]) -> None:
    one, two = iou(box, other), iou(other, box)  # type: ignore[arg-type]
    assert one == pytest.approx(two, abs=1e-12)
    assert 0 <= one <= 1 + 1e-12


@given(box=BOX.filter(lambda box: box[2] - box[0] > 0.01 and box[3] - box[1] > 0.01))
def test_a_box_overlaps_itself(box: tuple[float, float, float, float]) -> None:
    assert iou(box, box) == pytest.approx(1, abs=1e-9)
    score = BoxAccuracy().score(Answer(str(list(box)), list(box), box_space="abs"))
    assert score.value == 1


@given(box=BOX, space=st.sampled_from(BOX_SPACES), image=SIZE, shown=SIZE)
def test_box_spaces_round_trip(
    box: tuple[float, float, float, float], space: str, image: tuple[int, int], shown: tuple[int, int]
) -> None:
    found = to_original(box, space, image, shown)
    frame = {"abs": image, "abs_resized": shown, "norm1000": (1000, 1000), "norm999": (999, 999)}
    across, down = frame.get(space, (1, 1))
    scale = (across / image[0], down / image[1]) * 2
    assert [c * s for c, s in zip(found, scale, strict=True)] == pytest.approx(list(box), rel=1e-9)


@given(box=st.tuples(*[st.integers(0, 2000)] * 4), form=st.integers(0, 7))
def test_every_way_to_write_a_box_is_read(box: tuple[int, int, int, int], form: int) -> None:
    a, b, c, d = box
    written = [
        f"({a},{b}),({c},{d})",
        f"<ref>the cat</ref><box>({a},{b}),({c},{d})</box>",
        f"<|box_start|>({a}, {b}), ({c}, {d})<|box_end|>",
        f'```json\n[\n\t{{"bbox_2d": [{a}, {b}, {c}, {d}], "label": "cat"}}\n]\n```',
        f'{{"bbox_2d": [{a}.0, {b}.0, {c}.0, {d}.0]}}',
        f"The box is [[{a}, {b}, {c}, {d}]].",
        f"{a}, {b}, {c}, {d}",
        f"[[{a}, {b}], [{c}, {d}]]",
    ]
    assert parse_box(written[form]) == box
