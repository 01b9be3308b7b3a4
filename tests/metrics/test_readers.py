"""What the readers of answers promise beside their corpora."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.metrics.base import Answer, NoReading
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.metrics.coordinates import parse_box
from evalkit.metrics.mathvista import MathVistaAccuracy
from evalkit.metrics.numbers import read_list, read_number
from evalkit.metrics.points import parse_point
from evalkit.metrics.reasoning import split_reasoning
from evalkit.metrics.short_text import extract_short_answer
from evalkit.metrics.spans import parse_span
from evalkit.metrics.times import times_in

CHOICES = {"A": "65°", "B": "75°", "C": "85°"}


def mathvista(
    text: str, reference: str, answer_type: str = "integer", **groups: object
) -> tuple[float | None, object]:
    kind = {"question_type": "free_form", "answer_type": answer_type, **groups}
    options = CHOICES if kind["question_type"] == "multi_choice" else {}
    score = MathVistaAccuracy().score(Answer(text, reference, options=options, groups=kind))
    return score.value, score.parse_error


@pytest.mark.parametrize(
    ("text", "reference", "groups"),
    [
        ("The answer is 4 because there are 7 cubes and 3 are removed.", "4", {}),
        ("The answer is 1,200.6 people", "1200", {}),  # the official script cuts, after the separator is gone
        ("\\boxed{\\frac{1}{3}}", "0.33", {"answer_type": "float", "precision": 2}),
        ("It rises by 1.5 × 10^{-1}.", "0.15", {"answer_type": "float", "precision": 2.0}),
        ("−3.14159", "-3.1", {"answer_type": "float", "precision": "1"}),
        ("So it is between [1,2.5].", "[1, 2.5]", {"answer_type": "list"}),
        ("The answer is 3, 4 and 5.", "[3, 4, 5]", {"answer_type": "list"}),
        ("I'd say (B).", "B", {"question_type": "multi_choice", "answer_type": "text"}),
        ("The angle must be 75°.", "75°", {"question_type": "multi_choice", "answer_type": "text"}),
    ],
)
def test_mathvista_reads_explicit_answers(text: str, reference: str, groups: dict[str, Any]) -> None:
    assert mathvista(text, reference, **groups) == (1.0, None)


@pytest.mark.parametrize("text", ["I can't tell from the image.", "It may be 65° or 75°.", "no idea", ""])
def test_mathvista_guesses_no_option(text: str) -> None:
    """The official script takes the most similar option, but of what a language model has extracted."""
    for right in CHOICES:
        value, problem = mathvista(text, right, "text", question_type="multi_choice")
        assert value == 0.0
        assert problem
    extracted = Answer("75", "75°", options=CHOICES, groups={"question_type": "multi_choice"}, extracted=True)
    assert MathVistaAccuracy().score(extracted).parsed == "75°"


def test_mathvista_says_why_nothing_was_read() -> None:
    assert mathvista("The answer is 3 or 4.", "3") == (0.0, "'3 or 4' is not one number")
    assert mathvista("I cannot see 3 cubes.", "3") == (0.0, "the answer is a refusal")
    assert mathvista("7 cubes, 3 removed", "7") == (0.0, "several numbers, and none is said to be the answer")


def test_lists_need_commas_or_brackets() -> None:
    assert read_list("$[0, 200]$") == "[0, 200]"
    assert read_list("\\{1, 2\\}") == "[1, 2]"
    assert read_list("The answer is 0 and 2.") == "[0, 2]"
    for text in ("0 and 2", "5", "nothing"):
        with pytest.raises(NoReading):
            read_list(text)


NUMBERS = st.integers(-(10**6), 10**6)


@given(number=NUMBERS)
def test_a_number_survives_every_way_to_write_it(number: int) -> None:
    for text in (
        f"{number}",
        f"{number:,}",
        f"{number}.0",
        f"\\boxed{{{number}}}",
        f"The answer is {number}.",
        f"The answer is **{number}** because there are 7 of 9.",
        f"2 + 3 things, so the answer is {number:,} cm^2",
        f'{{"answer": {number}}}',
        f"答案是{number}",
        f"Answer: {number} out of 12345",
        f"{number}".replace("-", "−"),
    ):
        assert float(read_number(text)) == number, text


@given(start=st.integers(0, 5000), length=st.integers(1, 900))
def test_a_span_survives_clocks_words_and_units(start: int, length: int) -> None:
    end = start + length

    def clock(time: int) -> str:
        return f"{time // 3600:02}:{time // 60 % 60:02}:{time % 60:02}"

    def words(time: int) -> str:
        return f"{time // 60} minutes, {time % 60} seconds" if time % 60 else f"{time // 60} minutes"

    for text in (
        f"{clock(start)} - {clock(end)}",
        f"{clock(start)},000 --> {clock(end)},000",
        f"{words(start)} to {words(end)}",
        f"from {start // 60}m{start % 60}s to {end // 60}m{end % 60}s",
        f"from second {start} to second {end}",
        f"从第{start}秒到第{end}秒",
        f'{{"start": {start}, "end": {end}}}',
        f"It ends at {end}s and starts at {start}s.",
    ):
        assert parse_span(text) == (start, end), text


def test_a_plain_number_takes_the_others_unit() -> None:
    assert [time.unit for time in times_in("1 to 2 minutes")] == [None, 60.0]
    assert parse_span("from 1 to 2 minutes") == (60, 120)
    for text in ("from 1 minute to 2", "1:05 - 09"):
        with pytest.raises(NoReading, match="several things"):
            parse_span(text)


def test_two_boxes_are_no_four_points() -> None:
    for text in (
        "<|box_start|>(10,20),(30,40)<|box_end|><|box_start|>(1,2),(3,4)<|box_end|>",
        "(10,20),(30,40)(1,2),(3,4)",  # as a tokenizer leaves it that drops its special tokens
    ):
        score = BoxAccuracy().score(Answer(text, [10, 20, 30, 40], box_space="abs"))
        assert (score.value, score.parse_error) == (1.0, None)


READERS: tuple[Callable[[str], object], ...] = (
    read_number,
    read_list,
    parse_span,
    parse_box,
    parse_point,
    split_reasoning,
    extract_short_answer,
)
PIECES = (
    "1",
    " ",
    "\n",
    "is 1 ",
    "<think>",
    "\\boxed{",
    "1:05 ",
    "the answer is ",
    "(1,2),",
    "1,",
    "'",
    "=",
    "answer",
)


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("piece", PIECES)
def test_a_model_that_repeats_itself_is_read_in_no_time(piece: str) -> None:
    text = piece * (8000 // len(piece))
    for reader in READERS:
        with at_most(60):
            try:
                reader(text)
            except ValueError as problem:
                assert str(problem)  # noqa: PT017 - it may refuse, and says why


@given(text=st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_readers_refuse_with_a_reason(text: str) -> None:
    for reader in READERS:
        try:
            reader(text)
        except ValueError as problem:
            assert type(problem) is not ValueError  # noqa: PT017 - a refusal, not an accident
