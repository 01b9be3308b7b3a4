"""A run holds what scored it: tables without its tasks, and `evalkit verify`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from evalkit.api import advise, compare, evaluate, leaderboard, report, score_run
from evalkit.cli import run_cli
from evalkit.core import registry
from evalkit.core.errors import UsageError
from evalkit.core.registry import load_task
from evalkit.core.task_source import files_digest
from evalkit.metrics.description import build_metric
from evalkit.scoring.scorers import scoring_code
from evalkit.store import RunDir, ScoredWith

HELPER = "ENDING = ' Answer with one word.'\n"
OWN_METRIC = """
@dataclass(frozen=True)
class Half(MeanMetric):
    name: str = "half"

    def score(self, answer):
        return Score(0.5 if "a" in answer.prediction.lower() else 0.25, parsed=answer.prediction)

    def summarise(self, items):
        return {**super().summarise(items), "answers": float(len(items))}
"""
TASK = """
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from _wording import ENDING

from evalkit.metrics.anls import Anls
from evalkit.metrics.base import MeanMetric, Score
from evalkit.task import Rows, Task, text

Path(__file__).with_name("executed").touch()
{metric}
task = Task(
    name="mine",
    category="image",
    title="Mine",
    dataset=Rows("rows.jsonl"),
    prompt=lambda row: (text(row["q"] + ENDING),),
    reference=lambda row: row["a"],
    metric={made},
    max_new_tokens=8,
    id=lambda row: row["q"],
    cluster=lambda row: row["q"],
    groups={{"kind": lambda row: row["kind"]}},
)
"""
ROWS = [{"q": f"Question {i}?", "a": "red", "kind": "odd" if i % 2 else "even"} for i in range(6)]


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "_wording", raising=False)


def write_tasks(folder: Path, own_metric: bool) -> Path:
    """A folder with a task, its helper and its data."""
    folder.mkdir(parents=True)
    metric, made = (OWN_METRIC, "Half()") if own_metric else ("", "Anls(threshold=0.4)")
    (folder / "mine.py").write_text(dedent(TASK.format(metric=metric, made=made)))
    (folder / "_wording.py").write_text(HELPER)
    (folder / "_unused.py").write_text("raise RuntimeError('never imported')\n")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return folder


def run(tmp_path: Path, own_metric: bool, name: str = "run") -> Path:
    """A finished run of that task."""
    tasks = tmp_path / "tasks"
    if not tasks.exists():
        write_tasks(tasks, own_metric)
    limits = {"unparsed": 1.0, "repeating": 1.0}
    folder = os.path.relpath(tasks)
    evaluate(
        "mock",
        "mine",
        ropes=["mrope", "vanilla"],
        output=str(tmp_path / name),
        workers=0,
        tasks_dirs=(folder,),
        rate_limits=limits,
    )
    (tasks / "executed").unlink()
    return tmp_path / name


def scored_with(run: Path) -> ScoredWith:
    found = RunDir.open(run).manifest().evaluations[0].scored_with
    assert found is not None
    return found


def verdict(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, str]]:
    capsys.readouterr()
    code = run_cli(["verify", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("own_metric", [False, True])
def test_tables_need_no_task(tmp_path: Path, own_metric: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(tmp_path, own_metric)
    before = json.loads((done / "scores.json").read_text())
    shutil.move(tmp_path / "tasks", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    found = compare(done, baseline="mrope")
    shown = found.to_json()
    for old, new in zip(before["arms"], shown["arms"], strict=True):
        assert new["tasks"] == old["tasks"]
    cell = found.cells["mock@mrope"]["mine"]
    assert cell.figures["half" if own_metric else "anls"] == cell.estimate.value
    assert set(cell.breakdown["kind"]) == {"odd", "even"}
    assert cell.breakdown["kind"]["odd"].n == 3
    assert advise(done)
    assert report(done, output=tmp_path / "page.html").is_file()
    assert leaderboard([done], tmp_path / "board.csv") == 2
    assert not (tmp_path / "elsewhere/executed").exists()


def test_the_source_is_stored_with_its_helpers(tmp_path: Path) -> None:
    done = run(tmp_path, own_metric=True)
    known = scored_with(done)
    stored = RunDir.open(done).stored_task(str(known.task))
    assert set(stored) == {"mine.py", "_wording.py"}
    assert stored["_wording.py"] == HELPER.encode()
    assert (files_digest(stored), known.file, known.origin) == (known.task, "mine.py", "tasks-dir")
    assert known.code == scoring_code()
    assert (known.metric, known.parameters) == ("task:Half", None)
    evaluate("mock", "mini_docvqa", limit=3, output=str(done), workers=0)
    own = RunDir.open(done).manifest().evaluations[-1].scored_with
    assert own is not None
    source = load_task("mini_docvqa").source
    assert source is not None
    assert (own.task, own.file, own.origin) == (source.digest, "image/mini_docvqa.py", "built-in")
    assert build_metric(own.metric, own.parameters or {}) == load_task("mini_docvqa").metric


def test_verify_says_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(tmp_path, own_metric=False)
    code, found = verdict(capsys, str(done))
    assert code == 0, found
    assert {found[each] for each in ("figures", "code", "task", "metric", "journal")} == {"same"}
    assert int(found["recomputed"]) > 20

    scores = (done / "scores.json").read_text()
    (done / "scores.json").write_text(scores.replace('"n": 6', '"n": 5'))
    code, found = verdict(capsys, str(done))
    assert (code, found["figures"], found["task"]) == (1, "different", "same")
    assert "`n` is 5, again it is 6" in str(found["findings"])
    (done / "scores.json").write_text(scores)

    helper = tmp_path / "tasks/_wording.py"
    helper.write_text(HELPER + "# changed\n")
    (tmp_path / "tasks/executed").unlink()
    code, found = verdict(capsys, str(done))
    assert (code, found["figures"], found["task"], found["metric"]) == (1, "same", "different", "same")
    assert "_wording.py" in str(found["findings"])
    assert not (tmp_path / "tasks/executed").exists()  # another file than that which scored it
    helper.write_text(HELPER)

    task = tmp_path / "tasks/mine.py"
    task.write_text(task.read_text().replace("threshold=0.4", "threshold=0.9"))
    code, found = verdict(capsys, str(done), "--tasks-dir", str(tmp_path / "tasks"))
    assert (code, found["task"], found["metric"]) == (1, "different", "different")
    assert "'threshold': 0.4" in str(found["findings"])

    shutil.move(tmp_path / "tasks", tmp_path / "elsewhere")
    code, found = verdict(capsys, str(done))
    assert (code, found["figures"], found["task"]) == (1, "same", "different")
    assert "--stored-tasks" in str(found["findings"])


def test_verify_names_a_changed_record_and_other_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(tmp_path, own_metric=False)
    stored = RunDir.open(done)
    records = stored.records()
    stored.write_records([replace(records[0], score=replace(records[0].score, value=0.875)), *records[1:]])
    code, found = verdict(capsys, str(done))
    assert (code, found["figures"]) == (1, "different")
    assert "1 of 6 records" in str(found["findings"])
    assert "0.875" in str(found["findings"])
    (done / "records.jsonl").write_text("{}\n")
    assert verdict(capsys, str(done))[0] == 1
    (done / "records.jsonl").unlink()
    assert run_cli(["verify", str(done)]) == 2
    score_run(done)
    monkeypatch.setattr("evalkit.scoring.verify.scoring_code", lambda: "0" * 64)
    code, found = verdict(capsys, str(done))
    assert (code, found["code"]) == (1, "different")


def test_stored_code_runs_only_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(tmp_path, own_metric=True)
    copy = done / "tasks" / str(scored_with(done).task)
    shutil.rmtree(tmp_path / "tasks")
    code, found = verdict(capsys, str(done))
    assert (code, found["figures"], found["task"]) == (1, "not checked", "different")
    with pytest.raises(UsageError, match="--tasks-dir"):
        score_run(done)
    code, found = verdict(capsys, str(done), "--stored-tasks")
    assert code == 0, found
    assert not list(done.rglob("executed"))  # it ran beside, from the checked bytes
    (copy / "_wording.py").write_text(HELPER + "raise RuntimeError('changed')\n")
    code, found = verdict(capsys, str(done), "--stored-tasks")
    assert (code, found["task"]) == (1, "different")
    assert "was changed" in str(found["findings"])


def test_a_manifest_cannot_point_to_code_in_its_run(tmp_path: Path) -> None:
    done = run(tmp_path, own_metric=True)
    own = done / "mine"
    shutil.move(tmp_path / "tasks", own)
    RunDir.open(done).update(
        lambda manifest: manifest.with_evaluations(
            each.model_copy(update={"tasks_dirs": (str(own),)}) for each in manifest.evaluations
        ),
        "now",
    )
    with pytest.raises(UsageError, match="is not there"):
        score_run(done)
    assert report(done, output=tmp_path / "page.html").is_file()
    assert not (own / "executed").exists()
    score_run(done, tasks_dirs=[str(own)])
    assert (own / "executed").exists()


def test_metrics_that_differ_are_not_compared(tmp_path: Path) -> None:
    first = run(tmp_path, own_metric=False)
    task = tmp_path / "tasks/mine.py"
    task.write_text(task.read_text().replace("threshold=0.4", "threshold=0.9"))
    second = run(tmp_path, own_metric=False, name="second")
    with pytest.raises(UsageError, match=r"threshold=0\.4.*threshold=0\.9"):
        compare(first, second)
    assert any("metrics differ" in note for note in compare(first, second, allow_mismatch=True).notes)


def test_a_task_of_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site"
    write_tasks(site / "their_tasks", own_metric=True)
    (site / "their_tasks/__init__.py").write_text("")
    info = site / "their_tasks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-tasks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[evalkit.tasks]\ntheirs = their_tasks\n")
    monkeypatch.syspath_prepend(str(site))
    registry.installed_dirs.cache_clear()
    try:
        assert "mine" in [each.name for each in registry.declared()]
        assert not (site / "their_tasks/executed").exists()
        done = tmp_path / "run"
        evaluate("mock", "mine", output=str(done), workers=0, rate_limits={"repeating": 1.0})
        known = scored_with(done)
        assert (known.origin, known.file) == ("entry-point", "mine.py")
        assert set(RunDir.open(done).stored_task(str(known.task))) == {"mine.py", "_wording.py"}
        assert verdict(capsys, str(done))[0] == 0
        (info / "entry_points.txt").write_text("[evalkit.tasks]\ntheirs = no_such_package\n")
        registry.installed_dirs.cache_clear()
        with pytest.raises(UsageError, match="no_such_package"):
            registry.declared()
        (info / "entry_points.txt").unlink()
        registry.installed_dirs.cache_clear()
        assert compare(done).arms
    finally:
        registry.installed_dirs.cache_clear()
