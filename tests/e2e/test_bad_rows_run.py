"""A run with bad rows goes to its end: they are counted, never asked, and stored once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import fork_server
import mirrors_image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evalkit.store import RunDir

PARQUET = "lmms-lab-encoder/ChartQA/data/test-00000-of-00001.parquet"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight charts; one question is null, one answer, one image."""
    root = tmp_path / "data"
    rows = mirrors_image.build_chartqa_drawn_mirror(root) * 4
    path = root / PARQUET
    schema = pq.read_schema(path)
    rows = [{**row, "question": f"{row['question']} ({number})"} for number, row in enumerate(rows)]
    rows[2]["answer"] = None
    rows[4]["question"] = None
    rows[5]["image"] = None
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    mirrors_image.build_pope_mirror(root)
    return root


def run(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return fork_server.evalkit(*words, "--data-root", str(data), cwd=data.parent)


def test_a_run_goes_on_and_counts_them(data: Path, tmp_path: Path) -> None:
    words = (
        "run",
        "--model",
        "mock:fixed=10",
        "--tasks",
        "chartqa,pope",
        "--output",
        "out",
        "--workers",
        "0",
    )
    done = run(data, *words)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "samples without a score: chartqa 3 of 8" in done.stdout
    assert "samples without a score: chartqa 3 of 8" in done.stdout
    assert "3 failed and 0 missing" in done.stderr
    assert (
        "row 2 of data set `lmms-lab-encoder/ChartQA`, split `test`: column `answer` is null" in done.stderr
    )
    records = [each for each in RunDir.open(tmp_path / "out").records() if each.task == "chartqa"]
    failed = [record for record in records if record.failed]
    assert [(each.sample_id, each.index) for each in failed] == [("2", 2), ("4", 4), ("5", 5)]
    assert [each.finish_reason for each in failed] == ["error"] * 3
    assert all(each.raw == "" and each.prompt == "" and each.flags == ("error",) for each in failed)
    journal = tmp_path / "out/journal"
    lines = sum(path.read_text().count("\n") for path in journal.glob("*.jsonl"))
    assert run(data, *words).returncode == 3
    assert sum(path.read_text().count("\n") for path in journal.glob("*.jsonl")) == lines

    again = fork_server.evalkit("score", "out", "--json", cwd=tmp_path)
    assert again.returncode == 3
    assert json.loads(again.stdout)["arms"][0]["tasks"]["chartqa"]["counts"]["error"] == 3


def test_a_mended_row_is_asked(data: Path, tmp_path: Path) -> None:
    words = ("run", "--model", "mock:fixed=10", "--tasks", "chartqa", "--output", "out", "--workers", "0")
    assert run(data, *words).returncode == 3
    table = pq.read_table(data / PARQUET)
    rows = table.to_pylist()
    for number in (2, 4, 5):
        rows[number] |= {"answer": "10", "question": "What?", "image": rows[0]["image"]}
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), data / PARQUET)
    done = run(data, *words)
    assert done.returncode == 0, done.stderr
    assert not any(record.failed for record in RunDir.open(tmp_path / "out").records())


def test_a_dry_run_names_them(data: Path) -> None:
    done = run(data, "run", "--model", "mock", "--tasks", "chartqa", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "chartqa: 8 samples" in done.stdout
    assert done.stdout.count("can't be asked: row ") == 3


def test_a_limit_takes_them_as_any_others(data: Path, tmp_path: Path) -> None:
    words = ("run", "--model", "mock:fixed=10", "--tasks", "chartqa", "--workers", "0")
    run(data, *words, "--output", "all")
    run(data, *words, "--limit", "6", "--output", "six")
    everything = {each.sample_id: each for each in RunDir.open(tmp_path / "all").records()}
    some = RunDir.open(tmp_path / "six").records()
    assert len(some) == 6
    assert [each.failed for each in some] == [everything[each.sample_id].failed for each in some]


def test_data_check_names_every_bad_row(data: Path) -> None:
    done = run(data, "data", "check", "chartqa")
    assert done.returncode == 4  # it isn't whole either: 2,500 samples are declared
    assert "chartqa: 3 of 8 samples can't be asked" in done.stdout
    for number, column in ((2, "answer"), (4, "question"), (5, "image")):
        assert (
            f"row {number} of data set `lmms-lab-encoder/ChartQA`, split `test`: column `{column}` is null"
            in done.stdout
        )
    assert "mend these rows" in done.stderr


def test_data_check_reads_a_users_task_and_its_list_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/own.py").write_text(OWN)
    done = fork_server.evalkit(
        "data", "check", "own", "--tasks-dir", "mine", "--data-root", str(tmp_path), "--json", cwd=tmp_path
    )
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert said[0] == "own: 25 of 26 samples can't be asked"
    assert len(said) == 12
    assert said[-1] == "own: and 15 more"
    assert "row 1 of data set `r`: its `reference` can't be used: KeyError: 'answer'" in said[1]


def test_a_users_task_that_raises_costs_its_row(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/own.py").write_text(OWN)
    words = ("--model", "mock", "--tasks", "own", "--tasks-dir", "mine", "--output", "out", "--workers", "0")
    done = fork_server.evalkit("run", *words, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "25 failed" in done.stderr
    assert sum(not record.failed for record in RunDir.open(tmp_path / "out").records()) == 1


def test_python_gets_the_same(data: Path, tmp_path: Path) -> None:
    from evalkit import evaluate

    outcome = evaluate(
        "mock:fixed=10", "chartqa", data_root=str(data), output=str(tmp_path / "out"), workers=0
    )
    assert sum(record.failed for record in outcome.records) == 3
    assert len(outcome.records) == 8


def test_an_old_journal_s_reference_is_an_error_not_the_end(data: Path, tmp_path: Path) -> None:
    """What earlier versions asked and stored before references were checked."""
    words = ("run", "--model", "mock:fixed=10", "--tasks", "chartqa", "--output", "out", "--workers", "0")
    run(data, *words)
    (journal,) = (tmp_path / "out/journal").glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    good = [line for line in lines if line["finish_reason"] != "error"]
    for line, reference in zip(good, (None, 1.5, [], {"a": 1}), strict=False):
        line["reference"] = reference
        line["groups"] = {"split": None, "other": [1, None], "third": 7}
    for line in lines:
        del line["crc32"]  # as in format 1
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = fork_server.evalkit("score", "out", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "it can't be scored: the reference must be a text or a list of texts" in done.stderr
    assert "samples without a score: chartqa 7 of 8" in done.stdout
    for words in (("compare", "out"), ("report", "out", "-o", "page.html"), ("compare", "out", "--json")):
        shown = fork_server.evalkit(*words, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr


def test_a_broken_image_is_named_by_its_row_not_by_the_cache(data: Path, tmp_path: Path) -> None:
    table = pq.read_table(data / PARQUET)
    rows = table.to_pylist()
    rows[6]["image"]["bytes"] = rows[6]["image"]["bytes"][:60]
    rows[7]["image"]["bytes"] = b"no image at all"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), data / PARQUET)
    words = ("run", "--model", "mock:fixed=10", "--tasks", "chartqa", "--output", "out", "--workers", "0")
    assert run(data, *words).returncode == 3
    errors = {each.index: str(each.error) for each in RunDir.open(tmp_path / "out").records() if each.failed}
    for number in (6, 7):
        assert (
            f"image of row {number} of data set `lmms-lab-encoder/ChartQA`, split `test` can't be used"
            in errors[number]
        )
        assert "cache" not in errors[number]
        assert not any(len(word) == 64 for word in errors[number].replace("`", " ").replace("/", " ").split())


OWN = """
from evalkit.metrics.relaxed import RelaxedAccuracy
from evalkit.task import Task, text


class Rows:
    def rows(self, data_root):
        yield {"id": "good", "answer": "1"}
        yield from ({"id": str(number)} for number in range(25))

    def describe(self):
        return {"repo": "r"}


task = Task(
    name="own",
    category="image",
    title="Own",
    dataset=Rows(),
    prompt=lambda row: (text("What?"),),
    reference=lambda row: row["answer"],
    id=lambda row: row["id"],
    cluster=lambda row: row["id"],
    metric=RelaxedAccuracy(),
    max_new_tokens=4,
)
"""
