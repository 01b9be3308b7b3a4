"""The demo's command on a few samples: four variants, three categories, one table, from every door."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import fork_server
import pytest

from evalkit.report.aggregate import RATES

VARIANTS = ("vanilla", "mrope", "mrope-i", "mhrope")
ARMS = [f"tiny@{variant}" for variant in VARIANTS]
TASKS = [
    "mini_docvqa",
    "mini_docvqa_large",
    "mini_chartqa",
    "mini_refcoco",
    "mini_video",
    "mini_video_long",
]


def evalkit(*words: str, cwd: Path, code: int = 0) -> str:
    done = fork_server.evalkit(*words, cwd=cwd)
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run ``results/small`` of the demo's command, with a limit."""
    folder = tmp_path_factory.mktemp("demo")
    words = ["run", "--model", "tiny", "--rope", ",".join(VARIANTS), "--tasks", "mini", "--limit", "8"]
    table = evalkit(*words, "--output", "results/small", cwd=folder)
    assert all(name in table for name in [*ARMS, *TASKS, "95% intervals", "results/small"])
    return folder


@pytest.mark.slow
def test_every_variant_saw_the_same_media_and_prompts(folder: Path) -> None:
    table = evalkit("compare", "results/small", cwd=folder)  # refuses if they differ
    assert all(arm in table for arm in ARMS)


@pytest.mark.slow
def test_formats_agree(folder: Path) -> None:
    found = json.loads(evalkit("compare", "results/small", "--json", cwd=folder))
    rows = list(
        csv.DictReader(io.StringIO(evalkit("compare", "results/small", "--format", "csv", cwd=folder)))
    )
    whole = {(row["arm"], row["task"]): float(row["value"]) for row in rows if not row["group"]}
    assert len(whole) == 24
    for arm in found["arms"]:
        for task, cell in arm["tasks"].items():
            assert whole[arm["name"], task] == cell["value"]
            assert cell["low"] <= cell["value"] <= cell["high"]
            assert set(cell["counts"]) == set(RATES)
    markdown = evalkit("compare", "results/small", "--format", "markdown", cwd=folder)
    assert markdown.startswith("| benchmark | tiny@vanilla | tiny@mrope | tiny@mrope-i | tiny@mhrope |")
    assert all(f": {task} |" in markdown for task in TASKS)
    latex = evalkit("compare", "results/small", "--format", "latex", "--baseline", "mrope", cwd=folder)
    assert latex.rstrip().endswith("\\end{tabular}")
    html = evalkit("compare", "results/small", "--format", "html", "--breakdown", cwd=folder)
    assert html.count("<table>") > 4


@pytest.mark.slow
def test_differences_have_their_statistics(folder: Path) -> None:
    found = json.loads(evalkit("compare", "results/small", "--baseline", "vanilla", "--json", cwd=folder))
    assert found["baseline"] == "tiny@vanilla"
    assert found["arms"][0]["differences"] == {}
    for arm in found["arms"][1:]:
        assert set(arm["differences"]) == set(TASKS)
        for task, each in arm["differences"].items():
            base = found["arms"][0]["tasks"][task]["value"]
            assert each["value"] == pytest.approx(arm["tasks"][task]["value"] - base)
            assert each["n"] == 8
    table = evalkit("compare", "results/small", "--baseline", "vanilla", cwd=folder)
    assert "differences are to tiny@vanilla" in table


@pytest.mark.slow
def test_the_leaderboard_is_idempotent_and_reads_back(folder: Path) -> None:
    import pandas as pd

    evalkit("leaderboard", "results/small", "--csv", "board.csv", cwd=folder)
    first = (folder / "board.csv").read_text()
    evalkit("leaderboard", "results/small", "--csv", "board.csv", cwd=folder)
    assert (folder / "board.csv").read_text() == first
    table = pd.read_csv(folder / "board.csv")
    assert sorted(table["rope"]) == sorted(VARIANTS)
    assert set(TASKS) < set(table.columns)
    found = json.loads(evalkit("compare", "results/small", "--json", cwd=folder))
    for arm in found["arms"]:
        row = table[table["rope"] == arm["rope"]].iloc[0]
        assert row["overall"] == pytest.approx(arm["means"]["overall"])


@pytest.mark.slow
def test_the_leaderboard_is_checked_against_its_runs(folder: Path) -> None:
    evalkit("leaderboard", "results/small", "--csv", "own.csv", "--html", "own.html", cwd=folder)
    assert "evalkit leaderboard" in (folder / "own.html").read_text()
    assert "every row is what its runs say" in evalkit(
        "leaderboard", "check", "own.csv", "results/small", cwd=folder
    )
    text = (folder / "own.csv").read_text()
    (folder / "own.csv").write_text(text.replace("limit-8", "full"))
    said = evalkit("leaderboard", "check", "own.csv", "results/small", cwd=folder, code=1)
    assert "have protocol limit-8, not full" in said


@pytest.mark.slow
def test_the_same_command_again_runs_nothing(folder: Path) -> None:
    journal = folder / "results/small/journal/worker-000.jsonl"
    before = journal.read_bytes()
    words = ["run", "--model", "tiny", "--rope", ",".join(VARIANTS), "--tasks", "mini", "--limit", "8"]
    evalkit(*words, "--output", "results/small", "--batch-size", "1", cwd=folder)
    assert journal.read_bytes() == before


@pytest.mark.slow
def test_python_gives_what_the_command_line_gives(folder: Path) -> None:
    from evalkit import compare, evaluate

    outcome = evaluate("tiny", "mini_chartqa", ["mrope"], limit=8, output=str(folder / "python"), workers=0)
    assert not outcome.missing
    mine = compare(outcome.run.path).cells["tiny@mrope"]["mini_chartqa"]
    theirs = compare(folder / "results/small").cells["tiny@mrope"]["mini_chartqa"]
    assert mine == theirs
