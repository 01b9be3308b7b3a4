"""Every figure of the shared reference sets, to the last digit, and every official verdict.

The tasks are those of the registry, as `evalkit score` finds them.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.core.registry import load_task
from evalkit.metrics.base import Answer, Score
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.metrics.circular import CircularAccuracy
from evalkit.metrics.mmmu import MmmuAccuracy, with_random_choice
from evalkit.scoring.predictions import score_file

Line = dict[str, Any]

# Our name of an expected figure, by task; `{}` is what the pattern's group has found.
NAMES: dict[str, list[tuple[str, str]]] = {
    "blink": [("accuracy_macro", "exact_acc"), ("accuracy/(.*)", "exact_acc/subtask/{}")],
    "chartqa": [("relaxed_accuracy/(.*)", "relaxed_accuracy/split/{}")],
    "hallusionbench": [],
    "lvbench": [("acc", "official_acc"), ("(.*)", "official_acc/question_type/{}")],
    "mathvista_testmini": [("accuracy", "acc"), ("accuracy/(.*)", "acc/question_type/{}")],
    "mmbench_en_dev": [("circular_accuracy", "circular_acc"), ("vanilla_accuracy", "acc")],
    "mmmu_val": [
        ("accuracy_official_with_random_fallback_seed_42", "official_acc"),
        ("accuracy_if_fallback_counts_wrong", "acc"),
        ("official/(.*)", "official_acc/discipline/{}"),
    ],
    "mmstar": [
        ("final score", "acc"),
        (r"[^(]*\((.*)\)", "acc/l2_category/{}"),
        ("(.*)", "acc/category/{}"),
    ],
    "ocrbench": [("count/(.*)", "count/type/{}")],
    "pope": [("accuracy", "acc")],
    "seedbench_image": [("accuracy", "acc")],
    "tempcompass": [("rule_accuracy", "official_acc"), ("rule_match_rate", "match_rate")],
    "textvqa_val": [("vqa_accuracy", "vqa_acc")],
    "videomme": [
        (r"official_acc\(correct/answered\)/overall", "official_acc"),
        (r"strict_acc\(correct/n\)/overall", "acc"),
        (r"official_acc\(correct/answered\)/(.*)", "official_acc/duration/{}"),
        (r"strict_acc\(correct/n\)/(.*)", "acc/duration/{}"),
    ],
}


def sets(shared: Path) -> list[Path]:
    return sorted(path for path in (shared / "parity").iterdir() if (path / "cases.jsonl").exists())


def load(shared: Path, name: str) -> tuple[list[Line], dict[str, float]]:
    folder = shared / "parity" / name
    lines = [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines()]
    return lines, json.loads((folder / "expected.json").read_text())["scores"]


def ours(task: str, expected: str) -> str:
    for pattern, name in NAMES.get(task, []):
        found = re.fullmatch(pattern, expected)
        if found:
            label = name.format(*found.groups())
            return label.replace(" and ", " & ") if task == "mmmu_val" else label
    return expected


def answer_of(line: Line) -> Answer:
    size = line.get("image_size")
    return Answer(
        prediction=line["prediction"] if line.get("answered", True) else "",
        reference=line["reference"],
        question=line.get("question", ""),
        options=line.get("options", {}),
        groups=line.get("group", {}),
        image_size=tuple(size) if size else None,
        box_space=line.get("box_space"),
        extracted="full_response" in line,
    )


def test_every_figure_of_every_set(shared: Path) -> None:
    found = sets(shared)
    assert len(found) >= 20
    for folder in found:
        _, expected = load(shared, folder.name)
        blocks = score_file(folder / "cases.jsonl")
        if folder.name.startswith("refcoco"):
            continue
        (task, block), *others = blocks.items()
        assert others == []
        figures = {name: block["scores"].get(ours(task, name)) for name in expected}
        assert figures == expected, folder.name


def test_every_verdict_of_every_set(shared: Path) -> None:
    """Line by line, where the set has the official verdict on a line."""
    judged = 0
    for folder in sets(shared):
        lines, _ = load(shared, folder.name)
        metric = load_task(lines[0]["task"]).metric
        if folder.name.startswith(("refcoco", "mmmu")):  # those have tests of their own
            continue
        for line in lines:
            # BLINK's verdicts compare texts exactly, after an extraction of the authors' own.
            if "official" not in line or line["task"] == "blink":
                continue
            judged += 1
            assert metric.score(answer_of(line)).value == line["official"], (folder.name, line["id"])
    assert judged > 25_000


def test_every_extraction(shared: Path) -> None:
    for name in ("videomme-constructed", "lvbench-constructed"):
        lines, _ = load(shared, name)
        (task,) = {line["task"] for line in lines}
        metric = load_task(task).metric
        for line in lines:
            if line.get("answered", True):
                found = metric.score(answer_of(line)).parsed
                assert (found or "") == line["official_extraction"]


def test_circular_verdicts(shared: Path) -> None:
    lines, _ = load(shared, "mmbench-circular")
    rotations: dict[str, list[float | None]] = {}
    for line in lines:
        value = CircularAccuracy().score(answer_of(line)).value
        rotations.setdefault(line["group"]["circular_group"], []).append(value)
    for line in lines:
        assert float(all(rotations[line["group"]["circular_group"]])) == line["official_circular"]


def test_overlaps_of_time_spans(shared: Path) -> None:
    lines, _ = load(shared, "charades_sta-timechat")
    metric = load_task("charades_sta").metric
    for line in lines:
        assert metric.score(answer_of(line)).value == line["official_iou"]


def test_mmmu_reports_every_subject(shared: Path) -> None:
    found = score_file(shared / "parity/mmmu_val-llava1.5_13b/cases.jsonl")["mmmu_val"]["scores"]
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


@pytest.mark.parametrize(
    ("name", "task", "figure", "fixed"),
    [
        ("mmmu_val-llava1.5_13b", "mmmu_val", "official_acc", "acc"),
        ("mmbench-circular", "mmbench_en_dev", "official_acc", "circular_acc"),
    ],
)
def test_a_seed_changes_only_what_was_drawn(
    shared: Path, name: str, task: str, figure: str, fixed: str
) -> None:
    path = shared / "parity" / name / "cases.jsonl"
    found = [score_file(path, official_random=seed)[task]["scores"] for seed in (0, 1, 2, 3, 4, 5, 5)]
    assert len({scores[figure] for scores in found}) > 1
    assert found[-1] == found[-2]
    assert len({scores[fixed] for scores in found}) == 1


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
    found = score_file(shared / "parity/refcoco-qwenvl/cases.jsonl")
    figures = {f"acc@0.5/{task}": block["scores"]["qwen_vl_acc@0.5"] for task, block in found.items()}
    assert figures == expected
