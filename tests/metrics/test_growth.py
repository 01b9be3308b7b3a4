"""No reader and no metric takes more than its share for a longer answer: four times the length, at most five
times the work, for the tokens of its own alphabet repeated without end.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest
from test_metric_properties import CASES

from evalkit.metrics import numbers, short_text
from evalkit.metrics.base import Answer, Metric
from evalkit.metrics.coordinates import parse_box
from evalkit.metrics.points import parse_point
from evalkit.metrics.reasoning import opens_reasoning, split_reasoning
from evalkit.metrics.spans import parse_span
from evalkit.metrics.white_space import collapse_white_space
from evalkit.metrics.yes_no_reading import read_yes_no

# A family is a beginning, what is repeated, and an end that keeps a pattern from matching all of it.
FAMILIES = (
    *(
        ("", unit, "z")
        for unit in (" ", "\n", "1", "a", "*", "\\", "#", "<", "(", "“", "'", "…", "!", "\u0315\u0300")
    ),
    *(
        ("", unit, "")
        for unit in ("A ", "(A) ", "1, ", "1 ", "(1,", "(because 1 ", "1 s ", "yes ", "not blue car ")
    ),
    *(
        ("", unit, "z")
        for unit in ("[1", "1 => ", "<point ", "</think>", "<think>", "<answer>", "fully ", "\\text{")
    ),
    *(
        ("", unit, "")
        for unit in ("**a** ", "Answer: ", "answer is A. ", "= 1 ", "\\boxed{A}", '"answer": "', "~~")
    ),
    ("A ", "really ", "z"),
    ("(1,2)", " ", "z"),
    ("1 2 3 4", " ", "z"),
    ("{'a': 1", " ", "z"),
    ("(1", " ", "z"),
    ("1 ", "=>", "z 2"),
    ("<|channel|>", "a", ""),
    ("Answer: ", "*", "z"),
    ("A is ", "fully ", "z"),
    ('The answer is "', 'The answer is "', ""),
)
LENGTH = 1500
Work = Callable[[str], object]


def _judge(metric: Metric, answer: Answer) -> Work:
    return lambda text: metric.score(replace(answer, prediction=text))


def _read(reader: Work) -> Work:
    def read(text: str) -> None:
        try:
            reader(text)
        except ValueError:
            return

    return read


READERS: dict[str, Work] = {
    "split_reasoning": split_reasoning,
    "split_reasoning opened": lambda text: split_reasoning(text, opened=True),
    "opens_reasoning": opens_reasoning,
    "extract_short_answer": _read(short_text.extract_short_answer),
    "read_yes_no": read_yes_no,
    "read_number": _read(numbers.read_number),
    "read_list": _read(numbers.read_list),
    "parse_span": _read(parse_span),
    "parse_point": _read(parse_point),
    "parse_box": _read(parse_box),
}


METRICS = {f"{place} {type(each).__name__}": _judge(each, to) for place, (each, to) in enumerate(CASES)}
ALL = READERS | METRICS


def _seconds(work: Work, text: str) -> float:
    """Processor time, of which another process takes none."""
    start = time.thread_time()
    work(text)
    return time.thread_time() - start


def _walk(text: str) -> None:
    """What a linear reader may cost: a few hundred walks over the text, a token at a time."""
    for _ in range(150):
        re.findall(r"\w|\W", text)


@pytest.mark.parametrize("name", ALL)
def test_four_times_the_length_is_at_most_five_times_the_work(name: str) -> None:
    work = ALL[name]
    work("The answer is B.")  # what is imported on first use
    allowed = min(_seconds(_walk, "a " * (2 * LENGTH)) for _ in range(3))
    for begins, unit, ends in FAMILIES if name in READERS else FAMILIES[::5]:
        short, long = (begins + unit * (length // len(unit)) + ends for length in (LENGTH, 4 * LENGTH))
        if _seconds(work, long) <= allowed:
            continue
        for _ in range(6):  # the machine may be busy, so the best try counts; what is quadratic has none
            few, many = (min(_seconds(work, text) for _ in range(2)) for text in (short, long))
            if many <= 5 * few or many <= allowed:
                break
        else:
            pytest.fail(f"{unit!r} repeated: {many / few:.1f} times the work")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("split_reasoning", "<think" + ' a="b"' * 40),
        ("extract_short_answer", "*" * 60 + "z"),
        ("24 ExactAnswer", "*" * 60 + "z"),
        ("6 MultipleChoice", "The answer is " + "likely " * 27 + "a dog, not A"),
        ("6 MultipleChoice", "B is " + "fully " * 40 + "seen"),
        ("6 MultipleChoice", "B is " + "slightly " * 40 + "seen"),
    ],
)
def test_words_that_match_in_two_ways_are_not_tried_in_all(name: str, text: str) -> None:
    """These took time that doubles with each repetition."""
    allowed = max(_seconds(_walk, "a " * 10_000) for _ in range(3))
    assert min(_seconds(ALL[name], text) for _ in range(3)) < allowed


@pytest.mark.parametrize(
    "text", ["1" * 5000 + "/3", "\\frac{1.2.3}{4}", "1" * 400 + "/3", "10^" + "9" * 5000]
)
def test_a_number_that_can_not_be_worked_out_is_none(text: str) -> None:
    groups = {"question_type": "free_form", "answer_type": "integer"}
    metric = next(metric for metric, _ in CASES if type(metric).__name__ == "MathVistaAccuracy")
    score = metric.score(Answer(f"The answer is {text} cm", "12", groups=groups))
    assert score.value == 0
    assert score.parse_error is not None


def test_squeezed_white_space_keeps_lines_apart() -> None:
    assert collapse_white_space("a" + " " * 39 + "b") == "a" + " " * 39 + "b"
    assert collapse_white_space(" " * 50 + "\n" + " " * 50) == "\n"
    assert unicodedata.normalize("NFKC", collapse_white_space("a\u3000" * 3)) == "a a a "
