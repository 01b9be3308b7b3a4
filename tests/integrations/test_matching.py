"""Which sample an answer is taken for: over the benchmarks' schemas, in the right order and in a wrong
one."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mirrors import build_docvqa_mirror
from mirrors_image import build_image_mirrors

from evalkit.api import import_results
from evalkit.core.errors import UsageError
from evalkit.core.registry import load_task
from evalkit.core.types import Sample, Text
from evalkit.integrations.interchange.agreement import Agreement, agreement, same_reference
from evalkit.integrations.interchange.answers import NOT_GIVEN, ForeignAnswer
from evalkit.integrations.interchange.import_run import ImportSpec, read_answers

TASKS = (
    "ai2d",
    "blink",
    "chartqa",
    "docvqa_val",
    "hallusionbench",
    "infovqa_val",
    "mathvista_testmini",
    "mmbench_en_dev",
    "mmstar",
    "ocrbench",
    "pope",
    "realworldqa",
    "seedbench_image",
    "textvqa_val",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    build_docvqa_mirror(folder)
    build_image_mirrors(folder)
    return folder


def lines(name: str, root: Path, shift: int = 0) -> list[dict[str, Any]]:
    """What lmms-eval would write of a model that says the sample's id: a line for each row of the split."""
    found: list[dict[str, Any]] = []
    rows = [samples for _, samples in load_task(name).read(str(root))]
    for place, samples in enumerate(rows):
        if samples and samples[0].problem is None:
            sample = samples[0]
            words = "\n".join(part.text for part in sample.parts if isinstance(part, Text))
            own = {"target": str(sample.reference), "filtered_resps": sample.id, "input": words}
            found.append({"doc_id": (place + shift) % len(rows), **own})
    return found


@pytest.mark.parametrize("name", TASKS)
def test_answers_by_place_go_to_their_own_samples_or_to_none(name: str, root: Path, tmp_path: Path) -> None:
    path = tmp_path / f"a_samples_{name}.jsonl"
    own = lines(name, root)
    path.write_text("".join(json.dumps(each) + "\n" for each in own))
    answers = read_answers(ImportSpec([path], name, "m", data_root=str(root)))
    answered = [record for record in answers.records if not record.failed]
    assert [record.raw for record in answered] == [record.sample_id for record in answered]
    assert len(answered) == len(own), answers.imported.notes

    # In another order no answer may be taken for one to another question.
    path.write_text("".join(json.dumps(each) + "\n" for each in lines(name, root, shift=1)))
    samples = {sample.id: sample for sample in load_task(name).samples(str(root))}
    with suppress(UsageError):  # most are refused as a whole
        for record in read_answers(ImportSpec([path], name, "m", data_root=str(root))).records:
            if not record.failed:
                one, two = samples[record.raw], samples[record.sample_id]
                assert one.meta.get("question") == two.meta.get("question")
                assert one.reference == two.reference


def test_boxes_are_read_in_the_units_that_are_given(tmp_path: Path) -> None:
    samples = list(load_task("mini_refcoco").samples(None))
    path = tmp_path / "a_samples_b.tsv"
    cells = ["index\tprediction"]
    for sample in samples:
        left, top, right, bottom = sample.reference
        cells.append(f"{sample.id}\t[{left}, {top}, {right}, {bottom}]")
    path.write_text("\n".join(cells) + "\n")
    values = {}
    for space in ("abs", "norm1000"):
        found = import_results(path, task="mini_refcoco", model="m", output=tmp_path / space, box_space=space)
        assert (found.missing, found.failed) == (0, 0)
        values[space] = found.comparison.cells["m"]["mini_refcoco"].estimate.value
    assert values["abs"] == 1.0
    assert values["norm1000"] < 1.0


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("ocrbench", "labels such as `dataset`"),
        ("mathvista_testmini", "which samples belong together"),
        ("hallusionbench", "which samples belong together"),
        ("blink", "which samples belong together"),
        ("mmmu_val", "options"),  # without them it would take the question for an open one
        ("mmstar", "options"),
        ("refcoco_val", "which samples belong together"),
    ],
)
def test_what_only_the_data_say_is_not_guessed(name: str, lacking: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("index\tquestion\tanswer\tprediction\n1\tWhat?\tA\tA\n")
    with pytest.raises(UsageError, match=f"what the file doesn't have: {lacking}"):
        read_answers(ImportSpec([path], name, "m", box_space="abs", references="file"))


def test_options_of_the_file_are_as_good_as_the_datas(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    header = "index\tquestion\tA\tB\tanswer\tprediction\n"
    path.write_text(f"{header}1\tWhat is it?\tcat\tdog\tB\tIt must be the dog that sits\n")
    found = import_results(path, task="mmmu_val", model="m", output=tmp_path / "run", references="file")
    assert found.records[0].score is not None
    assert (found.records[0].score.value, found.records[0].score.parsed) == (1.0, "B")


def test_lists_of_references_in_a_sheet_are_lists(tmp_path: Path) -> None:
    """VLMEvalKit writes them in Python's notation, and evaluates it (vlmeval/dataset/utils/vqa_eval.py)."""
    path = tmp_path / "a.tsv"
    path.write_text("index\tquestion\tanswer\tprediction\n1\tWhat?\t['12 May', 'May 12']\tMay 12\n")
    found = import_results(path, task="docvqa_val", model="m", output=tmp_path / "run", references="file")
    assert found.records[0].score is not None
    assert found.records[0].score.value == 1.0


@pytest.mark.parametrize(
    ("ours", "theirs", "options", "same"),
    [
        ("42", "42.0", {}, True),
        ("Yes", "yes", {}, True),
        ("B", "(B)", {}, True),
        ("B", "red", {"A": "blue", "B": "red"}, True),
        ("red", "B", {"A": "blue", "B": "red"}, True),
        ("B", "A", {"A": "blue", "B": "red"}, False),
        ("B", "1", {"A": "blue", "B": "red"}, None),
        ("12", "13", {}, False),
        (["a b", "c"], ["C "], {}, True),
        (["a"], "b b", {}, None),
        ([1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4.0001], {}, True),
        ([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4], {}, None),
        (None, "x", {}, None),
        ("x", NOT_GIVEN, {}, None),
        ("x", "", {}, None),
        ({"a": 1}, "x", {}, None),
    ],
)
def test_references_that_agree_or_cant_be_compared(
    ours: Any, theirs: Any, options: dict[str, str], same: bool | None
) -> None:
    assert same_reference(ours, theirs, options) is same


def test_a_question_speaks_for_a_sample_and_another_against_it() -> None:
    sample = Sample("1", (), "A", "c", meta={"question": "What stands on the table?"})
    asked = ForeignAnswer("1", "row 1", question=" what stands\non the TABLE? ")
    assert agreement(sample, asked) is Agreement.QUESTION
    assert (
        agreement(sample, ForeignAnswer("1", "", prompt="Hint: look.\nWhat stands on the table?\nA. x"))
        is Agreement.QUESTION
    )
    assert (
        agreement(sample, ForeignAnswer("1", "", question="Who stands on the table?"))
        is Agreement.OTHER_QUESTION
    )
    assert agreement(sample, ForeignAnswer("1", "", prompt="Who?")) is Agreement.UNKNOWN
    assert agreement(sample, ForeignAnswer("1", "", reference="A")) is Agreement.REFERENCE
    both = ForeignAnswer("1", "", question="What stands on the table?", reference="B")
    assert agreement(sample, both) is Agreement.OTHER_REFERENCE
    assert agreement(sample, replace(both, reference="A")) is Agreement.BOTH
