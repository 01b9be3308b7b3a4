"""All benchmarks in one command, on mirrors in the hub's own layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fork_server
import mirrors_image
import pandas as pd
import pytest
from mirrors_all import build_all

from evalkit.core.registry import load_task, resolve
from evalkit.core.types import Sample
from evalkit.store import Record, RunDir

TASKS = [*resolve(["image"]), *resolve(["video"]), *resolve(["grounding"])]
# Their rules find an answer in any text.
ALWAYS_READ = {
    "pope",
    "mathvista_testmini",
    "textvqa_val",
    "ocrbench",
    "chartqa",
    "docvqa_val",
    "infovqa_val",
}
ALWAYS_READ |= {"mmmu_val", "realworldqa"}  # their open questions


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a few rows of every repository."""
    return build_all(tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("shared"))


def run(data: Path, folder: Path, model: str, tasks: str, *extra: str) -> dict[str, Any]:
    words = ["run", "--model", model, "--tasks", tasks, "--data-root", str(data), *extra]
    words += ["--output", str(folder / "out"), "--json", "--workers", "0"]
    words += ["--rate-limit", "unparsed=1,truncated=1,repeating=1"]
    done = fork_server.evalkit(*words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def records_of(folder: Path) -> list[Record]:
    return RunDir.open(folder / "out").records()


def written(sample: Sample, category: str) -> str:
    """A reference as a model would answer it."""
    reference = sample.reference
    if category == "grounding":
        return json.dumps(reference)
    if category == "video" and isinstance(reference, list):
        return f"The event happens in the {reference[0]} - {reference[1]} seconds."
    if "visual_input" in sample.meta.get("links", {}):
        return {"1": "Yes", "0": "No"}[reference]
    return str(reference[0] if isinstance(reference, list) else reference)


@pytest.mark.slow
@pytest.mark.parametrize("right", [True, False])
def test_right_answers_reach_the_top_and_wrong_ones_the_bottom(
    data: Path, tmp_path: Path, right: bool
) -> None:
    answers: dict[str, str] = {}
    for name in TASKS:
        task = load_task(name)
        for sample in task.samples(str(data)):
            text = written(sample, task.category) if right else "I can't tell"
            answers[f"{name}/{sample.id}"] = text
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    found = run(data, tmp_path, f"mock:answers={tmp_path / 'answers.json'}", "image,video,grounding")
    cells = found["arms"][0]["tasks"]
    assert list(cells) == TASKS
    assert len(records_of(tmp_path)) == len(answers)
    for name, cell in cells.items():
        if name == "pope" and not right:  # whose rule takes it for a yes
            assert cell["value"] == 0.5
        else:
            assert cell["value"] == pytest.approx(float(right), abs=0.05), name
        if right:
            assert cell["counts"]["unparsed"] == 0, name
        elif name not in ALWAYS_READ:
            assert cell["counts"]["unparsed"] == cell["n"], name
    means = found["arms"][0]["means"]
    assert means["MMBench_avg"] == float(right)
    assert means["grounding"] == float(right)


@pytest.mark.slow
def test_a_real_model_answers_every_task(data: Path, tmp_path: Path) -> None:
    found = run(data, tmp_path, "tiny", "image,video,grounding", "--limit", "1")
    assert list(found["arms"][0]["tasks"]) == TASKS
    records = records_of(tmp_path)
    assert [record.task for record in records] == TASKS
    for record in records:
        assert record.score is not None
        assert sum(shown.tokens for shown in record.media) == record.visual_tokens > 0
        for shown in record.media:
            assert (shown.kind == "video") == (record.task in resolve(["video"]))


HIDDEN = [*mirrors_image.HIDDEN, "egoschema"]


@pytest.mark.slow
def test_splits_without_answers_become_files_for_their_servers(data: Path, tmp_path: Path) -> None:
    found = run(data, tmp_path, "mock:fixed=B", ",".join([*HIDDEN, "chartqa"]))
    assert list(found["arms"][0]["tasks"]) == ["chartqa"]
    files = {Path(path).name.partition("-mock")[0]: Path(path) for path in found["submissions"]}
    assert sorted(files) == sorted(HIDDEN)
    assert json.loads(files["docvqa_test"].read_text()) == [
        {"questionId": 57344, "answer": "B"},
        {"questionId": 57345, "answer": "B"},
    ]
    assert json.loads(files["infovqa_test"].read_text())[0] == {"questionId": 900, "answer": "B"}
    assert json.loads(files["textvqa_test"].read_text())[0] == {"question_id": 34602, "answer": "B"}
    blink = json.loads(files["blink_test"].read_text())
    assert len(blink) == 14
    assert set(blink.values()) == {"(B)"}
    sheet = pd.read_excel(files["mmbench_en_test"])
    assert list(sheet["index"]) == [241, 1000241, 2000241, 3000241, 252, 1000252, 253, 1000253, 2000253]
    assert list(sheet["prediction"]) == ["B"] * 9
    assert list(sheet["A"][:4]) == ["cat", "dog", "cow", "hen"]
    assert files["egoschema"].read_text().splitlines()[0] == "q_uid,answer"
    assert [line.rpartition(",")[2] for line in files["egoschema"].read_text().splitlines()[1:]] == ["1", "1"]
