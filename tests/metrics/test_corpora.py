"""The golden corpora: answers in the forms that models use, each with its reading and why.

A reading of null means that nothing must be read. Every text goes through the reasoning stage first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.metrics.anls import Anls
from evalkit.metrics.base import Answer, Metric, NoReading
from evalkit.metrics.coordinates import parse_box
from evalkit.metrics.exact import ExactAnswer
from evalkit.metrics.numbers import read_number
from evalkit.metrics.ocrbench import OcrBenchAccuracy
from evalkit.metrics.points import parse_point
from evalkit.metrics.reasoning import split_reasoning
from evalkit.metrics.relaxed import RelaxedAccuracy
from evalkit.metrics.spans import parse_span
from evalkit.metrics.vqa import VqaAccuracy
from evalkit.scoring.predictions import score_file
from evalkit.scoring.score import score_answer

CORPORA = Path(__file__).with_name("corpora")
READERS: dict[str, tuple[Callable[[str], Any], type[ValueError]]] = {
    "numbers": (lambda text: float(read_number(text)), NoReading),
    "boxes": (parse_box, NoReading),
    "points": (parse_point, NoReading),
    "spans": (parse_span, NoReading),
}
METRICS: dict[str, Metric] = {
    "exact": ExactAnswer(),
    "anls": Anls(),
    "vqa": VqaAccuracy(),
    "ocr": OcrBenchAccuracy(),
    "relaxed": RelaxedAccuracy(),
}
AT_LEAST = 100


def corpus(name: str) -> list[dict[str, Any]]:
    lines = (CORPORA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert len(found) >= AT_LEAST
    assert len({(case.get("metric"), case["text"]) for case in found}) == len(found)
    assert all(case["why"] for case in found)
    return found


def read(name: str, text: str) -> Any:
    reader, refusal = READERS[name]
    parts = split_reasoning(text)
    if parts.truncated:
        return None
    try:
        return reader(parts.final)
    except refusal:
        return None


@pytest.mark.parametrize("name", READERS)
def test_every_answer_has_its_reading(name: str) -> None:
    wrong = []
    for case in corpus(name):
        found, wanted = read(name, case["text"]), case["reading"]
        wanted = float(wanted) if isinstance(wanted, str) else wanted
        same = found is None if wanted is None else found is not None and found == pytest.approx(wanted)
        if not same:
            wrong.append((case["text"], wanted, found, case["why"]))
    assert wrong == []


def test_every_short_text_has_its_reading() -> None:
    wrong = []
    for case in corpus("short_text"):
        parts = split_reasoning(case["text"])
        score = score_answer(METRICS[case["metric"]], Answer(parts.final, "x"), parts)
        unread = case["reading"] is None
        if score.parsed != case["reading"] or unread != (score.parse_error is not None):
            wrong.append((case["text"], case["reading"], score, case["why"]))
    assert wrong == []


def test_shared_readings_of_numbers_spans_and_reasoning(shared: Path, tmp_path: Path) -> None:
    lines = (shared / "readings" / "cases.jsonl").read_text().splitlines()
    path = tmp_path / "case.jsonl"
    wrong: list[str] = []
    for line in lines:
        if json.loads(line)["kind"] != "mcq":
            path.write_text(line)
            ((_, block),) = score_file(path).items()
            if next(iter(block["scores"].values())) != 1.0:
                wrong.append(line)
    assert wrong == []


def decorated(text: str) -> Sequence[str]:
    """An answer in the wrappings that must not change its reading."""
    return (
        f"<think>Is it 3, [1, 2, 3, 4] or 1 to 2 seconds?</think>\n\n{text}",
        f"<answer>{text}</answer>",
        f"  {text}\n",
        f"I looked at it.\n<answer>\n{text}\n</answer>",
    )


@pytest.mark.parametrize("name", READERS)
def test_wrappings_change_no_reading(name: str) -> None:
    for case in corpus(name):
        if "<think>" in case["text"] or "<answer>" in case["text"] or not case["text"]:
            continue
        if "</think>" not in case["text"]:
            for text in decorated(case["text"]):
                assert read(name, text) == read(name, case["text"]), text
