"""`evalkit score FILE`: blocks per task, and messages that name the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.core.errors import UsageError
from evalkit.metrics import letters
from evalkit.metrics.anls import Anls
from evalkit.metrics.base import Metric
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.metrics.choice import MultipleChoice
from evalkit.scoring.predictions import score_file

METRICS: dict[str, Metric] = {
    "doc": Anls(),
    "box": BoxAccuracy(),
    "video": MultipleChoice(letters.video_mme, answered=True),
}
GOOD = {"task": "doc", "id": "1", "prediction": "a", "reference": "a"}


def write(folder: Path, *lines: object) -> Path:
    path = folder / "cases.jsonl"
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(texts))
    return path


def complaint(path: Path, **options: object) -> str:
    with pytest.raises(UsageError) as caught:
        score_file(path, find_metric=METRICS.get, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_one_block_per_task(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        GOOD,
        {"task": "video", "prediction": "", "reference": "A", "group": {"d": "x"}},
        b"",
        GOOD | {"prediction": "1" * 40, "group": {"g": ["u", "v"]}},
    )
    found = score_file(path, find_metric=METRICS.get)
    assert list(found) == ["doc", "video"]
    assert found["doc"]["n"] == 2
    assert found["doc"]["scores"] == {"anls": 0.5, "anls/g/u": 0, "anls/g/v": 0}
    rates = ("error", "truncated_or_empty", "truncated_in_reasoning", "unparsed")
    assert found["doc"]["rates"] == {**dict.fromkeys(rates, 0), "repeating": 0.5}
    assert found["video"]["rates"]["truncated_or_empty"] == 1
    assert found["video"]["scores"] == {"acc": 0, "acc/d/x": 0}  # nothing was answered
    json.dumps(found, allow_nan=False)
    assert list(score_file(path, task="video", find_metric=METRICS.get)) == ["video"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100000, "not valid JSON"),
        ([1], "a list, not an object"),
        ({"task": "doc", "prediction": "a"}, "`reference` is missing"),
        ({"prediction": "a", "reference": "a"}, "`task` is missing"),
        (GOOD | {"prediction": None}, 'an empty answer is ""'),
        (GOOD | {"prediction": 3}, "`prediction` is 3"),
        (GOOD | {"task": ["doc"]}, "`task` is"),
        (GOOD | {"options": ["a"]}, "`options`"),
        (GOOD | {"group": "human"}, "`group`"),
        (GOOD | {"group": {"split": [3]}}, "`group`"),
        (GOOD | {"image_size": [3]}, "`image_size`"),
        (GOOD | {"image_size": [3, 0]}, "`image_size`"),
        (GOOD | {"box_space": 3}, "`box_space`"),
        (GOOD | {"reference": 3}, "the reference must be a text"),
        ({"task": "box", "prediction": "", "reference": [1, 2, 3, 4]}, "box_space None"),
        (
            {
                "task": "box",
                "prediction": "",
                "reference": [1, 2, 3, 4],
                "box_space": "norm1000",
            },
            "need the image_size",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: object, why: str) -> None:
    text = complaint(write(tmp_path, GOOD, line, GOOD))
    assert "cases.jsonl` line 2 " in text
    assert why in text


def test_unknown_tasks_are_listed_with_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, *[GOOD | {"task": "nope"}] * 7)
    assert "`nope` (lines 2, 3, 4, 5, 6 and 2 more)" in complaint(path)
    assert list(score_file(path, task="doc", find_metric=METRICS.get)) == ["doc"]
    assert "Did you mean `doc`?" in complaint(path, task="docs")


def test_empty_and_missing_files(tmp_path: Path) -> None:
    assert "there is nothing in it" in complaint(write(tmp_path, b"\n"))
    assert "No such file" in complaint(tmp_path / "none.jsonl")
    assert "directory" in complaint(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r")
    assert score_file(path, find_metric=METRICS.get)["doc"]["n"] == 1


def test_the_registry_is_the_default(shared: Path) -> None:
    path = shared / "parity" / "chartqa-constructed" / "cases.jsonl"
    assert score_file(path)["chartqa"]["n"] == 832
