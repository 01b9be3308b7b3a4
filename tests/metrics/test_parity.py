"""Every figure of the shared reference sets, to the last digit, and every official verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.metrics import letters
from evalkit.metrics.anls import Anls
from evalkit.metrics.base import Answer, Metric, Score
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.metrics.choice import MultipleChoice
from evalkit.metrics.mmmu import MmmuAccuracy, with_random_choice
from evalkit.metrics.relaxed import RelaxedAccuracy
from evalkit.score_file import score_file

Line = dict[str, Any]


def load(shared: Path, name: str) -> tuple[list[Line], dict[str, float]]:
    folder = shared / "parity" / name
    lines = [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines()]
    return lines, json.loads((folder / "expected.json").read_text())["scores"]


def answer_of(line: Line) -> Answer:
    size = line.get("image_size")
    return Answer(
        prediction=line["prediction"],
        reference=line["reference"],
        options=line.get("options", {}),
        groups=line.get("group", {}),
        image_size=tuple(size) if size else None,
        box_space=line.get("box_space"),
    )


def figures(shared: Path, name: str, metric: Metric) -> dict[str, dict[str, Any]]:
    found = score_file(shared / "parity" / name / "cases.jsonl", find_metric=lambda task: metric)
    return {task: block["scores"] for task, block in found.items()}


@pytest.mark.parametrize(
    ("name", "metric"),
    [("docvqa_val-qwen2_vl_7b_instruct", Anls()), ("chartqa-constructed", RelaxedAccuracy())],
)
def test_text_verdicts(shared: Path, name: str, metric: Metric) -> None:
    lines, _ = load(shared, name)
    differing = [line for line in lines if metric.score(answer_of(line)).value != line["official"]]
    assert differing == []


def test_docvqa_figure(shared: Path) -> None:
    _, expected = load(shared, "docvqa_val-qwen2_vl_7b_instruct")
    assert figures(shared, "docvqa_val-qwen2_vl_7b_instruct", Anls())["docvqa_val"] == expected


def test_chartqa_figures(shared: Path) -> None:
    _, expected = load(shared, "chartqa-constructed")
    found = figures(shared, "chartqa-constructed", RelaxedAccuracy())["chartqa"]
    for name, value in expected.items():
        assert found[name.replace("relaxed_accuracy/", "relaxed_accuracy/split/")] == value


def mmmu_name(expected: str) -> str:
    fixed = {
        "accuracy_official_with_random_fallback_seed_42": "official_acc",
        "accuracy_if_fallback_counts_wrong": "acc",
    }
    return fixed.get(expected) or "official_acc/discipline/" + expected.removeprefix("official/").replace(
        " and ", " & "
    )


def test_mmmu_figures(shared: Path) -> None:
    _, expected = load(shared, "mmmu_val-llava1.5_13b")
    found = figures(shared, "mmmu_val-llava1.5_13b", MmmuAccuracy())["mmmu_val"]
    assert {name: found[mmmu_name(name)] for name in expected} == expected
    assert sum(name.startswith("acc/discipline/") for name in found) == 6
    assert sum(name.startswith("acc/subject/") for name in found) == 30


def test_mmmu_verdicts_with_and_without_the_random_fallback(shared: Path) -> None:
    lines, _ = load(shared, "mmmu_val-llava1.5_13b")
    answers = [answer_of(line) for line in lines]
    scores = [MmmuAccuracy().score(answer) for answer in answers]
    drawn = [score.parse_error is not None for score in scores]
    assert drawn == ["note" in line for line in lines]
    official = with_random_choice(answers, scores, 42)
    assert [score.value for score in official] == [line["official"] for line in lines]
    assert [score.value for score, random in zip(scores, drawn, strict=True) if random] == [0.0, 0.0]


def test_mmmu_seed_changes_only_what_was_drawn(shared: Path) -> None:
    path = shared / "parity" / "mmmu_val-llava1.5_13b" / "cases.jsonl"
    found = [
        score_file(path, find_metric=lambda task: MmmuAccuracy(), official_random=seed)["mmmu_val"]["scores"]
        for seed in range(6)
    ]
    assert len({scores["official_acc"] for scores in found}) > 1
    assert len({scores["acc"] for scores in found}) == 1


def test_refcoco_verdicts_and_overlaps(shared: Path) -> None:
    """The set's verdicts are of Qwen-VL's script, which divides by 999 what the set calls norm1000."""
    lines, _ = load(shared, "refcoco-qwenvl")
    scores = [BoxAccuracy().score(replace(answer_of(line), box_space="norm999")) for line in lines]
    assert [score.value for score in scores] == [line["official"] for line in lines]
    assert [score.detail["iou"] for score in scores] == pytest.approx(
        [line["official_iou"] for line in lines], abs=1e-5
    )
    for line, score in zip(lines, scores, strict=True):
        assert (score.parse_error is not None) == (line["note"] in ("empty", "malformed") or _inverted(score))


def _inverted(score: Score) -> bool:
    return score.parse_error == "corners are inverted"


def test_refcoco_figures(shared: Path) -> None:
    _, expected = load(shared, "refcoco-qwenvl")
    found = figures(shared, "refcoco-qwenvl", BoxAccuracy())
    assert {f"acc@0.5/{task}": scores["qwen_vl_acc@0.5"] for task, scores in found.items()} == expected


def test_videomme_verdicts(shared: Path) -> None:
    lines, _ = load(shared, "videomme-constructed")
    for line in lines:
        assert (MultipleChoice(letters.video_mme, answered=True).score(answer_of(line)).parsed or "") == line[
            "official_extraction"
        ]


def test_videomme_figures(shared: Path) -> None:
    _, expected = load(shared, "videomme-constructed")
    found = figures(shared, "videomme-constructed", MultipleChoice(letters.video_mme, answered=True))[
        "videomme"
    ]
    names = {"official_acc(correct/answered)": "official_acc", "strict_acc(correct/n)": "acc"}
    for name, value in expected.items():
        figure, part = name.rsplit("/", 1)
        assert found[names[figure] + ("" if part == "overall" else f"/duration/{part}")] == value
