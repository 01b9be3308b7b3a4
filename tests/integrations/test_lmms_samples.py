"""Files that lmms-eval itself wrote, and files as its code would have written them of worse runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import example_task
import pytest

from evalkit import compare, evaluate
from evalkit.api import import_results
from evalkit.cli import run_cli
from evalkit.core.errors import UsageError
from evalkit.integrations.interchange.lmms_samples import read

YAML = """\
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {data}
task: {name}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: !function utils.text
doc_to_target: answer
generation_kwargs:
  max_new_tokens: 8
process_results: !function utils.process
metric_list:
  - metric: relaxed
    aggregation: mean
    higher_is_better: true
  - metric: judged
    aggregation: !function utils.first
    higher_is_better: true
metadata:
  - version: 0.1
"""
UTILS = """
def visual(doc):
    return [doc["image"].convert("RGB")]

def text(doc, kwargs=None):
    return "Look.\\n" + doc["question"] + "\\nAnswer with a number."

def process(doc, results):
    right = float(results[0].strip() == doc["answer"])
    return {"relaxed": right, "judged": {"score": 1 - right, "pred": results[0]}}

def first(items):
    return items[0]["score"]
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_task.write(tmp_path_factory.mktemp("example_task"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory, tasks: Path, lmms_python: str) -> Path:
    """Samples that lmms-eval wrote of its own dummy model, which reasons before it says 42."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "tasks").mkdir()
    text = YAML.format(data=tasks / "example_task.parquet", name="their_questions")
    (folder / "tasks/their_questions.yaml").write_text(text)
    (folder / "tasks/utils.py").write_text(UTILS)
    words = [lmms_python, "-m", "lmms_eval", "--model", "dummy", "--tasks", "their_questions"]
    words += ["--model_args", "response=<think>hm</think>42,pretrained=some/model"]
    words += ["--include_path", str(folder / "tasks"), "--log_samples", "--output_path", str(folder / "out")]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return next((folder / "out").rglob("*_samples_*.jsonl"))


@pytest.mark.slow
def test_what_lmms_eval_wrote_becomes_a_run_that_can_be_compared(
    tmp_path: Path, tasks: Path, theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = [json.loads(line) for line in theirs.read_text().splitlines()]
    assert {each["filtered_resps"] for each in written} == {"42"}  # its filter of reasoning, at work
    assert {each["resps"] if isinstance(each["resps"], str) else each["resps"][0] for each in written} == {
        "<think>hm</think>42"
    }
    log = read(theirs)
    assert (log.tool, log.task, log.model) == ("lmms-eval", "their_questions", "some/model")
    assert log.version

    found = import_results(
        theirs,
        task=example_task.NAME,
        model="dummy",
        rope="mrope",
        output=tmp_path / "imported",
        tasks_dirs=(str(tasks),),
    )
    assert (found.missing, found.failed, len(found.records)) == (0, 0, example_task.COUNT)
    for record, stored in zip(found.records, example_task.rows(), strict=True):
        assert record.sample_id == stored["id"]
        assert record.cluster_id == stored["image"]["path"]
        assert (record.raw, record.reasoning, record.final) == ("<think>hm</think>42", "hm", "42")
        assert stored["question"] in record.prompt
        assert record.score is not None
        assert record.score.value == float(stored["answer"] == "42")
    cell = found.comparison.cells["dummy@mrope"][example_task.NAME]
    assert cell.estimate.value == pytest.approx(4 / 12)
    said = found.results.evaluations[0].imported
    assert said is not None
    assert said.source.startswith("lmms-eval ")
    assert any("`relaxed` differs from our relaxed_accuracy in 0 of 12" in note for note in said.notes)
    assert any("`judged.score` differs from our relaxed_accuracy in 12 of 12" in note for note in said.notes)

    evaluate("mock:fixed=42", example_task.NAME, output=tmp_path / "ours", workers=0, tasks_dirs=[str(tasks)])
    runs = (tmp_path / "imported", tmp_path / "ours")
    with pytest.raises(UsageError, match="one was asked by lmms-eval"):
        compare(*runs)
    both = compare(*runs, allow_mismatch=True, baseline="dummy@mrope")
    difference = both.differences["mock:fixed=42@mrope"][example_task.NAME]
    assert (difference.value, difference.n) == (0.0, example_task.COUNT)
    assert any("one was asked by lmms-eval" in note for note in both.notes)
    assert any("imported from lmms-eval" in note for note in both.notes)

    for words in (
        ["advise", *map(str, runs), "--allow-mismatch"],
        ["report", *map(str, runs), "--allow-mismatch", "-o", str(tmp_path / "page.html")],
        ["leaderboard", *map(str, runs), "--csv", str(tmp_path / "board.csv")],
        ["score", str(runs[0])],
        ["score", str(theirs), "--task", example_task.NAME, "--tasks-dir", str(tasks)],
    ):
        assert run_cli(words) == 0, words
    assert "full by lmms-eval" in (tmp_path / "board.csv").read_text()
    assert re.search(r"^  relaxed_accuracy +0\.3333$", capsys.readouterr().out, re.MULTILINE)


def line(number: int, **changed: Any) -> dict[str, Any]:
    """A line as `save_results_samples` leaves it (lmms_eval/loggers/evaluation_tracker.py, 0.7.3)."""
    stored = example_task.rows()[number]
    return {
        "doc_id": number,
        "target": stored["answer"],
        "filtered_resps": stored["answer"],
        "doc_hash": "0" * 64,
        "input": f"Look.\n{stored['question']}",
        "relaxed": 1.0,
    } | changed


def imported(folder: Path, tasks: Path, lines: list[Any], **options: Any) -> Any:
    path = folder / "20260101_000000_samples_their_questions.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    where = {"output": folder / "run", "tasks_dirs": (str(tasks),)}
    return import_results(path, task=example_task.NAME, model="m", **where, **options)


def notes(found: Any) -> str:
    return "\n".join(found.results.evaluations[0].imported.notes)


def test_samples_missing_or_answered_twice_are_counted_and_named(tmp_path: Path, tasks: Path) -> None:
    lines = [line(number) for number in range(8)]
    lines += [line(2), line(3, filtered_resps="another"), line(0) | {"doc_id": 99}]
    found = imported(tmp_path, tasks, lines)
    assert (found.missing, found.failed) == (4, 1)
    assert "8 of 12 samples have an answer in the file" in notes(found)
    assert "4 samples are not in the file: `q-8`, `q-9`, `q-10`, `q-11`" in notes(found)
    assert "1 answers were left out, since they repeat an answer: `line 9`" in notes(found)
    assert "1 answers were left out, since the data have no such sample: `99`" in notes(found)
    failed = next(record for record in found.records if record.failed)
    assert failed.sample_id == "q-3"
    assert failed.error == "the file answers it 2 times, differently (line 4, line 10)"


def test_a_file_in_another_order_is_refused(tmp_path: Path, tasks: Path) -> None:
    """By places alone a third of the targets would fit."""
    lines = [line(number) | {"doc_id": (number + 3) % 12, "input": "Look."} for number in range(12)]
    with pytest.raises(UsageError, match="8 of 12 answers are not to the samples at their places"):
        imported(tmp_path, tasks, lines)
    assert not (tmp_path / "run/manifest.json").exists()


def test_a_place_alone_is_no_match(tmp_path: Path, tasks: Path) -> None:
    lines = [{"doc_id": number, "filtered_resps": "42", "input": ""} for number in range(12)]
    with pytest.raises(UsageError, match="nothing but a number says so"):
        imported(tmp_path, tasks, lines)


def test_a_single_other_target_is_left_out(tmp_path: Path, tasks: Path) -> None:
    """One in twelve is below the share that condemns a file; then the target alone proves no place."""
    lines = [line(number) for number in range(12)]
    lines[5]["target"] = "7"
    lines[7]["input"] = ""
    found = imported(tmp_path, tasks, lines)
    assert found.missing == 2
    assert "its target is another than the data's: `5`" in notes(found)
    assert "what speaks for their place is true of others too: `7`" in notes(found)


@pytest.mark.parametrize(
    ("responses", "error"),
    [
        ([["-1.5", "False"], ["-0.5", "True"]], "answers or log-likelihoods"),
        (["a", "b"], "2 answers or log-likelihoods"),
        ([], "no text as its answer"),
        (None, "no text as its answer"),
        ([None], "no text as its answer"),
    ],
)
def test_what_is_not_one_text_is_an_error_of_its_sample(
    tmp_path: Path, tasks: Path, responses: Any, error: str
) -> None:
    found = imported(tmp_path, tasks, [line(n) for n in range(11)] + [line(11, filtered_resps=responses)])
    assert (found.missing, found.failed) == (0, 1)
    assert error in str(found.records[11].error)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"doc_id": 0, "filtered_resps": "a"}\n{"doc_id": 1, "filt', "line 2 can't be read as JSON"),
        (b'{"doc_id": 0, "filtered_resps": "a"}\n[1]\n', "line 2 has no `doc_id`"),
        (b'{"doc_id": 0, "filtered_resps": "\xff"}\n', "none of lmms-eval's samples"),
        ('{"doc_id": 0, "filtered_resps": "a"}'.encode("utf-16"), "none of lmms-eval's samples"),
        (b'{"task": "a", "prediction": "b", "reference": "c"}\n', "none of lmms-eval's samples"),
        (b"", "none of lmms-eval's samples"),
    ],
)
def test_files_that_are_torn_or_of_another_kind_are_refused(
    tmp_path: Path, tasks: Path, content: bytes, why: str
) -> None:
    path = tmp_path / "x_samples_y.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        import_results(
            path, task=example_task.NAME, model="m", output=tmp_path / "run", tasks_dirs=(str(tasks),)
        )
    assert why in str(caught.value)


def test_the_same_file_again_changes_nothing_and_another_is_not_mixed_in(tmp_path: Path, tasks: Path) -> None:
    lines = [line(number, filtered_resps="no") for number in range(12)]
    assert imported(tmp_path, tasks, lines).comparison.cells["m"][example_task.NAME].estimate.value == 0
    journal = next((tmp_path / "run/journal").glob("*.jsonl")).read_bytes()
    again = imported(tmp_path, tasks, lines)
    assert next((tmp_path / "run/journal").glob("*.jsonl")).read_bytes() == journal
    assert len(again.run.manifest().evaluations) == 1

    # A file of half of the answers, all right: none of the others stands in for the rest.
    found = imported(tmp_path, tasks, [line(number) for number in range(6)])
    assert (found.missing, found.comparison.cells["m"][example_task.NAME].estimate.value) == (6, 1.0)
    assert len(found.run.manifest().arms) == 1


def test_a_native_run_in_the_same_folder_stays_apart(tmp_path: Path, tasks: Path) -> None:
    lines = [line(number, filtered_resps="no") for number in range(12)]
    path = tmp_path / "a_samples_b.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    evaluate("mock:fixed=42", example_task.NAME, output=tmp_path / "run", workers=0, tasks_dirs=[str(tasks)])
    import_results(
        path,
        task=example_task.NAME,
        model="mock:fixed=42",
        rope="mrope",
        output=tmp_path / "run",
        tasks_dirs=(str(tasks),),
    )
    with pytest.raises(UsageError, match="one was asked by evalkit, the other by lmms-eval"):
        compare(tmp_path / "run")
    both = compare(tmp_path / "run", allow_mismatch=True)
    values = {arm: cells[example_task.NAME].estimate.value for arm, cells in both.cells.items()}
    assert sorted(values.values()) == [0.0, pytest.approx(4 / 12)]
    assert next(arm for arm, value in values.items() if value == 0).startswith("mock:fixed=42@mrope#")


def test_without_data_the_references_are_the_files_own_and_that_is_said(tmp_path: Path) -> None:
    lines = [
        {"doc_id": 0, "target": "['12 May', 'May 12']", "filtered_resps": "May 12", "anls": 1.0},
        {"doc_id": 1, "target": "[sic]", "filtered_resps": "sic", "input": "?", "anls": 0.0},
        {"doc_id": 2, "filtered_resps": "x", "input": "?"},
    ]
    path = tmp_path / "a_samples_docvqa_val.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    found = import_results(path, task="docvqa_val", model="m", output=tmp_path / "run")
    assert [record.score.value for record in found.records if record.score] == [1.0, pytest.approx(0.6), None]
    assert found.records[2].error == "the file has no reference for it"
    said = found.results.evaluations[0]
    assert said.protocol.subset == "imported-3"
    assert said.imported is not None
    assert said.imported.references == "file"
    assert any("not checked against the data" in note for note in said.imported.notes)
    with pytest.raises(UsageError, match="which samples belong together"):
        import_results(path, task="mmbench_en_dev", model="m", output=tmp_path / "other")


def test_boxes_need_their_units(tmp_path: Path) -> None:
    path = tmp_path / "a_samples_b.jsonl"
    path.write_text(json.dumps(line(0)))
    with pytest.raises(UsageError, match="in which units"):
        import_results(path, task="refcoco_val", model="m", output=tmp_path / "run")
