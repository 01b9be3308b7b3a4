"""Sampling, several answers, thinking and recipes, as a user runs them: stored, resumed, shown and
compared."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.api import compare
from evalkit.cli import run_cli
from evalkit.core.errors import UsageError
from evalkit.report import tables
from evalkit.report.latex import latex
from evalkit.store import Record, RunDir

DRAW = "mock:draw=A|B|C|D"
WORDS = [
    "--tasks",
    "mini_video",
    "--limit",
    "8",
    "--workers",
    "0",
    "-q",
    "--rate-limit",
    "unparsed=1,truncated=1",
]


def run(folder: Path, *words: str, model: str = DRAW) -> int:
    return run_cli(["run", "--model", model, *WORDS, "--output", str(folder), *words])


def records(folder: Path) -> list[Record]:
    return RunDir.open(folder).records()


def said(folder: Path) -> dict[tuple[str, int], str]:
    return {(each.sample_id, each.repetition): each.raw for each in records(folder)}


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampled") / "run"
    assert run(folder, "--temperature", "1", "--n", "4") == 0
    return folder


def test_every_question_is_answered_n_times(sampled: Path) -> None:
    found = said(sampled)
    assert len(found) == 32
    assert {repetition for _, repetition in found} == {0, 1, 2, 3}
    assert set(found.values()) == set("ABCD")
    manifest = RunDir.open(sampled).manifest()
    (evaluation,) = manifest.evaluations
    assert (evaluation.samples, evaluation.protocol.n, evaluation.asked) == (8, 4, 32)
    assert evaluation.protocol.recipe == "paper + temperature 1"
    assert manifest.arms[0].identity["sampling"] == "temperature 1, seed 0"


def test_more_answers_leave_those_that_are_there(sampled: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run(folder, "--temperature", "1", "--n", "2") == 0
    lines = (
        len(list((folder / "journal").glob("*"))),
        sum(len(path.read_text().splitlines()) for path in (folder / "journal").glob("*.jsonl")),
    )
    assert run(folder, "--temperature", "1", "--n", "4") == 0
    after = sum(len(path.read_text().splitlines()) for path in (folder / "journal").glob("*.jsonl"))
    assert after - lines[1] == 16
    assert said(folder) == said(sampled)


def test_another_seed_is_another_run(sampled: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "run", "--temperature", "1", "--n", "4", "--seed", "7") == 0
    assert said(tmp_path / "run") != said(sampled)


def test_a_model_draws_the_same_whatever_is_answered_beside(tmp_path: Path) -> None:
    def tiny(name: str, *words: str) -> dict[tuple[str, str, int], str]:
        order = ["run", "--model", "tiny", "--rope", "mrope", "--tasks", "mini_docvqa", "--limit", "4"]
        order += ["--temperature", "2", "--n", "2", "--workers", "0", "-q", "--output", str(tmp_path / name)]
        assert run_cli([*order, "--rate-limit", "unparsed=1,truncated=1,repeating=1", *words]) == 0
        return {(each.arm, each.sample_id, each.repetition): each.raw for each in records(tmp_path / name)}

    together = tiny("together")
    assert len(together) == 8
    assert tiny("alone", "--batch-size", "1") == together
    first, second = ([text for (_, _, n), text in together.items() if n == which] for which in (0, 1))
    assert first != second


def test_every_row_of_results_says_its_recipe(sampled: Path, tmp_path: Path, capsys: Any) -> None:
    label = "paper + temperature 1"
    comparison = compare(sampled)
    assert comparison.to_json()["arms"][0]["recipe"] == label
    assert list(comparison.to_pandas()["recipe"]) == [label]
    rows = list(csv.DictReader(io.StringIO(tables.csv(comparison))))
    assert {row["recipe"] for row in rows} == {label}
    assert float(rows[0]["pass@4"]) >= float(rows[0]["pass@2"]) >= float(rows[0]["value"])
    assert rows[0]["answers_each"] == "4"
    for form in (tables.markdown, latex, tables.html):
        assert label in form(comparison)
    board = tmp_path / "board.csv"
    assert run_cli(["leaderboard", str(sampled), "--csv", str(board)]) == 0
    (row,) = csv.DictReader(io.StringIO(board.read_text()))
    assert row["recipe"] == label
    assert row["protocol"] == f"limit-8 recipe-{label} n-4"
    capsys.readouterr()
    assert run_cli(["compare", str(sampled)]) == 0
    shown = capsys.readouterr().out
    assert f"recipe: {label}" in shown
    assert "means of 4 answers to each question: " in shown
    assert " pass@2 " in shown
    assert run_cli(["report", str(sampled), "-o", str(tmp_path / "page.html")]) == 0


def test_two_recipes_are_never_paired_silently(sampled: Path, tmp_path: Path, capsys: Any) -> None:
    assert run(tmp_path / "greedy") == 0
    with pytest.raises(UsageError, match="recipe"):
        compare(sampled, tmp_path / "greedy")
    notes = compare(sampled, tmp_path / "greedy", allow_mismatch=True).notes
    assert any("recipe (`--recipe`) differs" in note for note in notes)
    (tmp_path / "mine.yaml").write_text("settings: {fps: 1}\n")
    assert run(tmp_path / "own", "--recipe", str(tmp_path / "mine.yaml")) == 0
    with pytest.raises(UsageError, match="paper and mine#"):
        compare(tmp_path / "greedy", tmp_path / "own")
    capsys.readouterr()
    assert run_cli(["diff", str(tmp_path / "greedy"), str(tmp_path / "own"), "--json"]) == 0
    found = {(each["where"], each["name"]): each for each in json.loads(capsys.readouterr().out)}
    assert found["mini_video", "fps"]["second"] == "1.0"
    assert found["command", "recipe"]["first"] == "paper"
    assert ("versions", "evalkit") not in found
    assert run_cli(["diff", str(sampled), str(sampled)]) == 0
    assert "no setting differs" in capsys.readouterr().out


def test_a_recipe_whose_content_changes_is_asked_anew(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    for limit in ("{max_new_tokens: 3}", "{max_new_tokens: 4}"):
        recipe.write_text(f"settings: {limit}\n")
        assert run(tmp_path / "run", "--recipe", str(recipe), model="mock:fixed=1 2 3 4 5 6") == 0
    arms = RunDir.open(tmp_path / "run").manifest().arms
    assert len(arms) == 2
    assert arms[0].identity["recipe"] != arms[1].identity["recipe"]
    assert {each.raw for each in records(tmp_path / "run")} == {"1 2 3", "1 2 3 4"}


def test_answers_cut_off_in_their_reasoning_have_a_rate_of_their_own(tmp_path: Path, capsys: Any) -> None:
    model = "mock:draw=<think> is it </think> A|<think> is it B or C or D or A"
    words = ["--max-reasoning-tokens", "6", "--max-new-tokens", "2", "--temperature", "1"]
    assert run(tmp_path / "run", *words, model=model) == 0
    shown = capsys.readouterr().out
    cut = [each for each in records(tmp_path / "run") if "truncated_reasoning" in each.flags]
    whole = [each for each in records(tmp_path / "run") if "truncated_reasoning" not in each.flags]
    assert cut
    assert whole
    for each in cut:
        assert (each.final, each.finish_reason) == ("", "length")
        assert "truncated" in each.flags
        assert each.reasoning
    assert {(each.final, each.reasoning) for each in whole} == {("A", "is it")}
    assert "truncated in reasoning" in shown
    assert f"{len(cut) / (len(cut) + len(whole)):.1%}" in shown
    cell = compare(tmp_path / "run").cells[records(tmp_path / "run")[0].arm]["mini_video"]
    assert cell.counts["truncated in reasoning"] == len(cut)
    assert cell.counts["truncated or empty"] == len(cut)


def test_options_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        "model: tiny\ntasks: mini_docvqa\ntemperature: 0.5\ntop-p: 0.9\nn: 2\ntemplate-arg: [x=1]\n"
    )
    assert run_cli(["run", "--config", str(tmp_path / "run.yaml"), "--dry-run"]) == 2  # the template has no x
    (tmp_path / "run.yaml").write_text("model: mock\ntasks: mini_docvqa\nmax-new-tokens: 3\nthinking: loud\n")
    assert run_cli(["run", "--config", str(tmp_path / "run.yaml"), "--dry-run"]) == 2


def test_prompts_that_open_reasoning_without_room_for_it_are_pointed_out(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "t.yaml").write_text("tasks: {mini_video: {prompt: '{question} <think>'}}\n")
    told = [word for word in WORDS if word != "-q"]
    order = ["run", "--model", "mock", *told, "--recipe", str(tmp_path / "t.yaml")]
    assert run_cli([*order, "--output", str(tmp_path / "run")]) == 0
    assert "--max-reasoning-tokens" in capsys.readouterr().err
