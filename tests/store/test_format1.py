"""Runs that evalkit 0.1 stored in format 1. The folder ``format1`` was written by that version:

evalkit run --model mock:fixed=A --rope mrope,vanilla --tasks mini_docvqa --limit 2 --output run
evalkit run --model mock:fixed=A --rope mrope --tasks mini_chartqa --limit 3 --output run
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fork_server
import pytest

from evalkit.api import compare, leaderboard
from evalkit.report.leaderboard.table import read
from evalkit.store import RunDir

STORED = Path(__file__).parent / "format1"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(STORED, tmp_path / "run")
    return tmp_path / "run"


def test_arms_and_samples_are_those_that_were_stored(run: Path) -> None:
    found = compare(run)
    assert {arm.name for arm in found.arms} == {"mock:fixed=A@mrope", "mock:fixed=A@vanilla"}
    sizes = {(arm, task): cell.expected for arm, cells in found.cells.items() for task, cell in cells.items()}
    assert sizes == {
        ("mock:fixed=A@mrope", "mini_docvqa"): 2,
        ("mock:fixed=A@mrope", "mini_chartqa"): 3,
        ("mock:fixed=A@vanilla", "mini_docvqa"): 2,
    }


def test_a_protocol_is_read_off_the_samples_not_off_the_last_command(run: Path, tmp_path: Path) -> None:
    leaderboard([run], tmp_path / "board.csv")
    rows = read(tmp_path / "board.csv").to_dict("records")
    assert sorted((row["rope"], row["protocol"], *json.loads(row["tasks"])) for row in rows) == [
        ("mrope", "limit-2 reasoning-none", "mini_docvqa"),
        ("mrope", "limit-3 reasoning-none", "mini_chartqa"),
        ("vanilla", "limit-2 reasoning-none", "mini_docvqa"),
    ]
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["spec"]["limit"] = None
    manifest["tasks"] = [{**task, "size": 3} for task in manifest["tasks"]]
    (run / "manifest.json").write_text(json.dumps(manifest))
    protocols = {str(each.protocol) for each in RunDir(run).manifest().evaluations}
    assert protocols == {"full", "limit-2"}


def test_it_is_scored_again_and_goes_on_in_todays_format(run: Path) -> None:
    before = RunDir(run).records()
    assert fork_server.evalkit("score", str(run)).returncode == 0
    assert {(each.arm, each.key): each.score for each in RunDir(run).records()} == {
        (each.arm, each.key): each.score for each in before
    }
    words = ["run", "--model", "mock:fixed=A", "--rope", "hope", "--tasks", "mini_docvqa", "--limit", "2"]
    done = fork_server.evalkit(*words, "--output", str(run), "--workers", "0", "--rate-limit", "unparsed=1")
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "manifest.json").read_text())["format"] == 2
    assert {arm.name for arm in compare(run, allow_mismatch=True).arms} == {
        "mock:fixed=A@mrope",
        "mock:fixed=A@vanilla",
        "mock:fixed=A@hope",
    }


def test_a_damaged_one_says_so(run: Path) -> None:
    (run / "plan.json").write_text("[]")
    done = fork_server.evalkit("compare", str(run))
    assert done.returncode == 2
    assert "manifest.json` is damaged" in done.stderr
    assert "Traceback" not in done.stderr
