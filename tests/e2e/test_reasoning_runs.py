"""Models that reason aloud, as a user would evaluate them: scored, shown, submitted and compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_page import unpack_json

from evalkit.cli import run_cli
from evalkit.core.registry import load_task
from evalkit.core.submission import Submission
from evalkit.metrics.unscored import Unscored
from evalkit.scoring.finalize import finalize
from evalkit.store import Record, RunDir

TASK = "mini_docvqa"
WORDS = ["--tasks", TASK, "--limit", "6", "--workers", "0", "-q"]


def references() -> dict[str, str]:
    return {sample.id: sample.reference[0] for sample in load_task(TASK).samples(None)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One model, whose answers are right but after reasoning that names something else, by both rules."""
    folder = tmp_path_factory.mktemp("reasoning")
    said = {name: f"<think>\nIs it 12? No.\n</think>\n\n{right}" for name, right in references().items()}
    (folder / "a.json").write_text(json.dumps(said))
    order = ["run", "--model", "mock:answers=a.json", *WORDS]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for rule in ("tags", "none"):
            assert run_cli([*order, "--reasoning", rule, "--output", str(folder / rule)]) == 0
    return {rule: folder / rule for rule in ("tags", "none")}


def scores(folder: Path) -> list[float | None]:
    return [record.score.value if record.score else None for record in RunDir.open(folder).records()]


def test_the_final_answer_is_scored_and_both_parts_are_stored(runs: dict[str, Path]) -> None:
    assert scores(runs["tags"]) == [1.0] * 6
    assert scores(runs["none"]) != [1.0] * 6
    wanted = references()
    for record in RunDir.open(runs["tags"]).records():
        assert (record.final, record.reasoning) == (wanted[record.sample_id], "Is it 12? No.")
        assert record.raw.startswith("<think>\nIs it 12?")
    journalled = (runs["tags"] / "journal").glob("*.jsonl")
    lines = [json.loads(line) for path in journalled for line in path.read_text().splitlines()]
    assert all("reasoning" not in line and "final" not in line for line in lines)


def test_the_rule_is_recorded_and_runs_are_not_mixed(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for rule, folder in runs.items():
        manifest: Any = json.loads((folder / "manifest.json").read_text())
        assert manifest["scoring"]["reasoning"] == rule
    assert run_cli(["compare", *map(str, runs.values())]) == 2
    assert "rule that separates reasoning" in capsys.readouterr().err
    assert run_cli(["compare", *map(str, runs.values()), "--allow-mismatch"]) == 0


def test_a_stored_run_is_scored_by_another_rule(runs: dict[str, Path], tmp_path: Path) -> None:
    folder = runs["none"]
    assert run_cli(["score", str(folder), "--reasoning", "tags", "--json"]) == 0
    assert scores(folder) == [1.0] * 6
    assert run_cli(["score", str(folder), "--json"]) == 0  # without the option, the rule that the run has now
    assert scores(folder) == [1.0] * 6
    assert run_cli(["compare", *map(str, runs.values())]) == 0
    assert run_cli(["score", str(folder), "--reasoning", "none", "--json"]) == 0
    assert scores(folder) != [1.0] * 6


def test_the_leaderboard_says_when_reasoning_was_scored_too(runs: dict[str, Path], tmp_path: Path) -> None:
    board = tmp_path / "board.csv"
    assert run_cli(["leaderboard", str(runs["none"]), "--csv", str(board)]) == 0
    assert "reasoning-none" in board.read_text()


def test_the_report_shows_reasoning_apart(runs: dict[str, Path], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert run_cli(["report", str(runs["tags"]), "-o", str(page)]) == 0
    written = page.read_text()
    data = json.loads(written.partition('id="data">')[2].partition("</script>")[0])
    pieces = [unpack_json(piece) for task in data["tasks"] for piece in task["pieces"]]
    answers = [sample["answers"][0] for piece in pieces for sample in piece["samples"]]
    assert {answer[4] for answer in answers} == {"Is it 12? No."}
    assert {answer[0] for answer in answers} <= set(references().values())
    assert '"reasoning"), make("pre", {}, each[4])' in written


def test_the_final_answer_is_what_is_submitted(runs: dict[str, Path]) -> None:
    run = RunDir.open(runs["tags"])
    form = Submission("txt", lambda entries: "\n".join(entry.text for entry in entries).encode(), "a server")
    hidden = replace(load_task(TASK), metric=Unscored(), submission=form)
    (entry,) = run.manifest().invocations
    (path,) = finalize(run, [hidden], entry).submissions
    wanted = references()
    assert path.read_text().split("\n") == [wanted[record.sample_id] for record in run.records()]


def test_a_misspelt_rule_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(f"model: mock\ntasks: {TASK}\nreasoning: tgs\n")
    assert run_cli(["run", "--config", str(config)]) == 2
    assert "Did you mean `tags`?" in capsys.readouterr().err


def test_records_of_earlier_versions_are_read(runs: dict[str, Path]) -> None:
    record = RunDir.open(runs["tags"]).records()[0]
    known = {name: value for name, value in record.to_json().items() if name not in ("reasoning", "final")}
    assert Record.from_json(known).answer().prediction == record.raw
