"""The image benchmarks, from a mirror in the hub's own layout to a score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mirrors_image import BUILDERS, Rows, picture

from evalkit.core.registry import load_task
from evalkit.core.types import MediaRef, Sample, Text
from evalkit.metrics.base import Answer, Score, Scored
from evalkit.models import FAMILIES


def load(name: str, root: Path) -> tuple[Rows, list[Sample]]:
    rows = BUILDERS[name](root)
    return rows, list(load_task(name).samples(str(root)))


def labels(sample: Sample) -> Mapping[str, Any]:
    return {**sample.meta.get("links", {}), **sample.groups}


def judge(name: str, sample: Sample, prediction: str) -> Score:
    answer = Answer(
        prediction,
        sample.reference,
        sample.meta["question"],
        sample.meta.get("options", {}),
        labels(sample),
    )
    return load_task(name).metric.score(answer)


def asked(sample: Sample, family: str = "qwen2_5_vl") -> str:
    part = sample.parts[-1]
    assert isinstance(part, Text)
    return part.wording(family, FAMILIES[family].wording)


def right_answer(sample: Sample) -> str:
    reference = sample.reference
    return {"1": "Yes", "0": "No"}.get(reference, reference) if isinstance(reference, str) else reference[0]


@pytest.mark.parametrize("name", BUILDERS)
def test_every_row_is_a_sample(name: str, tmp_path: Path) -> None:
    _, samples = load(name, tmp_path)
    task = load_task(name)
    assert samples
    assert len({sample.id for sample in samples}) == len(samples)
    for sample in samples:
        images = sample.parts[:-1]
        assert images
        assert all(isinstance(part, MediaRef) and part.data for part in images)
        assert sample.meta["question"] in asked(sample) or name == "mathvista_testmini"
        assert list(sample.groups) == list(task.groups)
        for each in sample.groups.values():
            assert isinstance(each, str) or all(isinstance(label, str) for label in each)
        for family in FAMILIES:
            assert asked(sample, family).strip()


@pytest.mark.parametrize("name", BUILDERS)
def test_right_answers_reach_the_top_and_wrong_ones_the_bottom(name: str, tmp_path: Path) -> None:
    _, samples = load(name, tmp_path)
    metric = load_task(name).metric
    low, high = metric.range
    for answers, expected in (
        ([right_answer(sample) for sample in samples], high),
        ([_wrong(sample) for sample in samples], low),
    ):
        scores = [judge(name, sample, text) for sample, text in zip(samples, answers, strict=True)]
        items = [Scored(score, labels(sample)) for score, sample in zip(scores, samples, strict=True)]
        assert metric.summarise(items)[metric.name] == pytest.approx(expected, abs=0.1)


def _wrong(sample: Sample) -> str:
    if sample.reference in ("yes", "no", "1", "0", "Yes"):
        return "no" if sample.reference in ("yes", "1", "Yes") else "yes"
    return next((letter for letter, text in sample.meta.get("options", {}).items()
                 if sample.reference not in (letter, f"({letter})", text)), "something else")  # fmt: skip


def test_mmbench_turns_options_and_skips_the_repository_s_own_rotations(tmp_path: Path) -> None:
    rows, samples = load("mmbench_en_dev", tmp_path)
    assert [sample.id for sample in samples] == [
        *("241", "1000241", "2000241", "3000241"),
        *("252", "1000252"),
        *("253", "1000253", "2000253"),
    ]
    by_id = {sample.id: sample for sample in samples}
    assert by_id["2000241"].meta["options"] == {"A": "cow", "B": "hen", "C": "cat", "D": "dog"}
    assert by_id["2000241"].reference == "A"
    for sample in samples:
        row = next(row for row in rows if str(row["index"]) == sample.cluster_id)
        assert sample.meta["options"][sample.reference] == row[row["answer"]]
        assert sample.meta["links"] == {"circular_group": sample.cluster_id}
    assert asked(by_id["1000241"]) == (
        "Hint: Look at it.\nQuestion: What is shown?\nOptions:\nA. dog\nB. cow\nC. hen\nD. cat\n"
        "Please select the correct answer from the options above."
    )
    assert asked(by_id["252"], "internvl") == (
        "What is shown?\nA. cat\nB. dog\nAnswer with the option's letter from the given choices directly."
    )
    _, chinese = load("mmbench_cn_dev", tmp_path / "cn")
    assert asked(chinese[0]).endswith("\n请直接回答选项字母。")


def test_one_wrong_rotation_makes_the_question_wrong(tmp_path: Path) -> None:
    _, samples = load("mmbench_en_dev", tmp_path)
    metric = load_task("mmbench_en_dev").metric
    texts = ["Z" if sample.id == "1000241" else sample.reference for sample in samples]
    scores = [judge("mmbench_en_dev", sample, text) for sample, text in zip(samples, texts, strict=True)]
    items = [Scored(score, labels(sample)) for score, sample in zip(scores, samples, strict=True)]
    found = metric.summarise(items)
    assert found["circular_acc"] == pytest.approx(2 / 3)
    assert found["vanilla_acc"] == 1.0
    assert found["acc"] == pytest.approx(8 / 9)
    assert found["circular_acc/category/object_localization"] == 0.0
    assert not any("circular_group" in figure for figure in found)


def test_wordings(tmp_path: Path) -> None:
    _, (word, number, _) = load("realworldqa", tmp_path / "a")
    assert word.meta["options"] == {"A": "Left.", "B": "Right.", "C": "Straight."}
    assert number.meta["options"] == {}
    assert judge("realworldqa", number, "Two").value == 1.0
    _, (star, *_) = load("mmstar", tmp_path / "b")
    assert star.meta["options"] == {"A": "round", "B": "flat, or nearly so", "C": "long"}
    assert asked(star).endswith("C: long\nAnswer with the option's letter from the given choices directly.")
    _, (pope, *_) = load("pope", tmp_path / "c")
    assert asked(pope) == "Is there a dog in the image? Please answer yes or no."
    _, (text, *_) = load("textvqa_val", tmp_path / "d")
    assert asked(text, "qwen3_vl").endswith(
        "\nPlease answer concisely with short words or phrases when possible."
    )


def test_blink_shows_its_images_in_order(tmp_path: Path) -> None:
    rows, samples = load("blink", tmp_path)
    assert [sample.groups["subtask"] for sample in samples] == [row["config"] for row in rows]
    for number, sample in enumerate(samples):
        shown = [part.data for part in sample.parts if isinstance(part, MediaRef)]
        assert shown == [picture(10 * number + k)["bytes"] for k in range(1, number % 4 + 2)]
        assert judge("blink", sample, "It is (B).").value == 1.0


def test_mathvista_reads_what_each_question_asks_for(tmp_path: Path) -> None:
    _, (option, whole, decimal, several) = load("mathvista_testmini", tmp_path)
    right = (
        (option, ("(B)", "B", "75°", "The angle is 75, so the answer is (B).", 'The answer is "75°".')),
        (whole, ("12", "12.0", "3 * 4 = 12", "The answer is 12 apples.", r"So \boxed{12}")),
        (decimal, ("1.2", "1.249", "x is about 1.24 m", "Answer: $1.2$")),
        (several, ("[0, 2]", "They are [0, 2].")),
    )
    wrong = (
        (option, ("A", "65°", "The answer is A.")),
        (whole, ("13", "a dozen", "")),
        (decimal, ("1.3", "none")),
        (several, ("[2, 0]", "0 and 2")),
    )
    for cases, expected in ((right, 1.0), (wrong, 0.0)):
        for sample, texts in cases:
            for text in texts:
                assert judge("mathvista_testmini", sample, text).value == expected, text
    assert option.groups["skills"] == ("geometry reasoning", "arithmetic reasoning")
    assert decimal.meta["links"] == {"precision": 1.0}


def test_seedbench_leaves_videos_out(tmp_path: Path) -> None:
    rows, samples = load("seedbench_image", tmp_path)
    assert (len(rows), len(samples)) == (4, 3)
    assert [sample.groups["dimension"] for sample in samples] == [
        "Scene Understanding",
        "Instances Counting",
        "Text Understanding",
    ]
