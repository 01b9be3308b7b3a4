"""One run directory, several commands: one after another, or at the same time."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import fork_server
import pytest

from evalkit import evaluate
from evalkit.api import compare, leaderboard
from evalkit.core.errors import UsageError
from evalkit.core.registry import load_task
from evalkit.report.leaderboard.table import read
from evalkit.store import Evaluation, RunDir

RELIABLE = ("--rate-limit", "unparsed=1", "--workers", "0", "--quiet")


def words(output: Path, *extra: str, tasks: str = "mini_docvqa", ropes: str = "mrope") -> list[str]:
    return ["run", "--model", "mock:slow=0.2", "--rope", ropes, "--tasks", tasks, "--batch-size", "1",
            "--output", str(output), *RELIABLE, *extra]  # fmt: skip


def start(output: Path, *extra: str, **kinds: str) -> fork_server.RunningCommand:
    return fork_server.start(*words(output, *extra, **kinds))


def journalled(output: Path) -> list[str]:
    lines = [line for path in output.glob("journal/*.jsonl") for line in path.read_text().splitlines()]
    return [json.loads(line)["key"] for line in lines]


def wait_for(condition: Callable[[], object]) -> None:
    """Wait, on a busy machine as long as a test may take."""
    while not condition():
        time.sleep(0.02)


def test_processes_with_arms_of_their_own_leave_all_of_them(tmp_path: Path) -> None:
    output = tmp_path / "run"
    ropes = ("mrope", "mrope-i", "vanilla")
    running = [start(output, "--limit", "5", ropes=rope) for rope in ropes]
    for process in running:
        _, said = process.communicate()
        assert process.returncode == 0, said
    manifest = RunDir.open(output).manifest()
    assert {arm.rope for arm in manifest.arms} == set(ropes)
    assert [each.status for each in manifest.invocations] == ["complete"] * 3
    found = compare(output)
    assert {arm.rope for arm in found.arms} == set(ropes)
    assert all(cell.whole for cells in found.cells.values() for cell in cells.values())


def test_the_same_at_the_same_time_is_refused_or_waited_for(tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert fork_server.evalkit(*words(output, "--limit", "2")).returncode == 0
    (arm,) = RunDir.open(output).manifest().arms
    with RunDir.open(output).answer_locks(
        [f"{arm.arm}#{arm.fingerprint[:6]} mini_docvqa"], "evalkit run X", None
    ):
        refused = fork_server.evalkit(*words(output, "--limit", "4"))
        assert refused.returncode == 2, refused.stderr
        assert "mini_docvqa` is being answered" in refused.stderr
        assert f"process {os.getpid()} on " in refused.stderr
        assert "evalkit run X" in refused.stderr
        assert "--wait" in refused.stderr
        other = fork_server.evalkit(*words(output, "--limit", "2", tasks="mini_chartqa"))
        assert other.returncode == 0, other.stderr  # what nobody holds goes on

        again = [word for word in words(output, "--limit", "4", "--wait") if word != "--quiet"]
        waiting = fork_server.start(*again)
        wait_for(lambda: waiting.poll() is not None or "waiting for" in waiting.err.read_text())
        assert waiting.poll() is None
    assert waiting.wait() == 0
    keys = journalled(output)
    assert len(keys) == len(set(keys)) == 6


def test_a_kill_releases_what_a_process_held(tmp_path: Path) -> None:
    output = tmp_path / "run"
    first = start(output, "--limit", "6")
    wait_for(lambda: journalled(output))
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    again = fork_server.evalkit(*words(output, "--limit", "6"))
    assert again.returncode == 0, again.stderr
    assert len(set(journalled(output))) == 6
    statuses = [each.status for each in RunDir.open(output).manifest().invocations]
    assert statuses == ["running", "complete"]


def run(output: Path, *extra: str, model: str = "mock:fixed=A", ropes: str = "mrope", **kinds: str) -> str:
    tasks = kinds.get("tasks", "mini_docvqa")
    done = fork_server.evalkit("run", "--model", model, "--rope", ropes, "--tasks", tasks,
                          "--output", str(output), *RELIABLE, *extra)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_smaller_command_changes_nothing_and_shows_what_it_asked_for(tmp_path: Path) -> None:
    output = tmp_path / "run"
    run(output, "--limit", "12", ropes="mrope,vanilla")
    views = {name: (output / name).read_bytes() for name in ("records.jsonl", "scores.json")}
    before = json.loads((output / "manifest.json").read_text())
    assert "mini_docvqa 3;" in run(output, "--limit", "3")
    assert {name: (output / name).read_bytes() for name in views} == views
    assert {cell.expected for cells in compare(output).cells.values() for cell in cells.values()} == {12}
    after = json.loads((output / "manifest.json").read_text())
    for name in ("arms", "evaluations", "invocations"):
        assert after[name][: len(before[name])] == before[name]  # only added to
    assert [each["spec"]["limit"] for each in after["invocations"]] == [12, 3]


def test_a_larger_command_extends_a_run(tmp_path: Path) -> None:
    output = tmp_path / "run"
    run(output, "--limit", "3")
    assert "mini_docvqa 12;" in run(output, "--limit", "12")
    assert len(journalled(output)) == 12
    (cells,) = compare(output).cells.values()
    assert cells["mini_docvqa"].expected == 12


def test_a_leaderboard_says_of_each_score_how_many_samples_it_is_of(tmp_path: Path) -> None:
    output = tmp_path / "run"
    run(output, "--limit", "5")
    run(output, tasks="mini_chartqa")
    leaderboard([output], tmp_path / "board.csv")
    rows = {row["protocol"]: row for row in read(tmp_path / "board.csv").to_dict("records")}
    assert {name: list(json.loads(row["tasks"])) for name, row in rows.items()} == {
        "limit-5": ["mini_docvqa"],
        "full": ["mini_chartqa"],
    }
    assert json.loads(rows["limit-5"]["tasks"])["mini_docvqa"]["expected"] == 5
    assert json.loads(rows["full"]["tasks"])["mini_chartqa"]["expected"] == 240
    done = fork_server.evalkit("leaderboard", "check", str(tmp_path / "board.csv"), str(output))
    assert done.returncode == 0, done.stdout


def test_commands_write_one_leaderboard_at_once(tmp_path: Path) -> None:
    ropes = ("mrope", "vanilla", "hope", "mrope-i")
    for rope in ropes:
        run(tmp_path / rope, "--limit", "2", ropes=rope)
    board = ["leaderboard", "--csv", str(tmp_path / "board.csv")]
    running = [fork_server.start(*board, str(tmp_path / rope)) for rope in ropes]
    assert [process.wait() for process in running] == [0] * 4
    assert set(read(tmp_path / "board.csv")["rope"]) == set(ropes)


def test_runs_in_folders_of_one_name_are_all_there(tmp_path: Path) -> None:
    runs = [tmp_path / seed / "run" for seed in ("seed1", "seed2", "seed3")]
    for path, text in zip(runs, "ABC", strict=True):
        run(path, "--limit", "2", model=f"mock:fixed={text}", tasks="mini_video")
    found = compare(*runs)
    assert [arm.run for arm in found.arms] == ["seed1/run", "seed2/run", "seed3/run"]
    assert len({arm.name for arm in found.arms}) == 3
    for path in runs:  # and all under one name
        run(path, "--limit", "2", model="mock", tasks="mini_video")
    names = [arm.name for arm in compare(*runs).arms if arm.model == "mock"]
    assert names == ["mock@mrope", "mock@mrope (seed2/run)", "mock@mrope (seed3/run)"]
    page = fork_server.evalkit("report", *map(str, runs), "--output", str(tmp_path / "report.html"))
    assert page.returncode == 0, page.stderr
    assert "seed3/run" in (tmp_path / "report.html").read_text()
    assert len(json.loads(fork_server.evalkit("advise", *map(str, runs), "--json").stdout)["ranked"]) == 6


def longer(evaluation: Evaluation) -> Evaluation:
    task = evaluation.task.model_copy(update={"max_new_tokens": evaluation.task.max_new_tokens + 1})
    return evaluation.model_copy(update={"task": task})


def test_runs_of_one_name_are_still_checked_against_each_other(tmp_path: Path) -> None:
    runs = [tmp_path / seed / "run" for seed in ("seed1", "seed2")]
    for path, limit in zip(runs, "23", strict=True):
        run(path, "--limit", limit)
    with pytest.raises(UsageError, match="can't be compared on mini_docvqa"):
        compare(*runs)
    run(runs[0].parent / "same", "--limit", "2")
    stored = RunDir.open(runs[0])
    stored.update(lambda manifest: manifest.with_evaluations([longer(manifest.evaluations[0])]), "now")
    with pytest.raises(UsageError, match="limit of new tokens differs"):
        compare(runs[0], runs[0].parent / "same")


def answering(path: Path, text: str) -> Path:
    """What a mock model of that file answers."""
    path.write_text(json.dumps({sample.id: text for sample in load_task("mini_docvqa").samples(None)}))
    return path


def test_a_finished_command_is_repeated_without_loading_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = answering(tmp_path / "answers.json", "x")
    order = {"models": f"mock:answers={answers}", "tasks": "mini_docvqa", "limit": 4, "workers": 0}
    first = evaluate(**order, output=tmp_path / "run")  # type: ignore[arg-type]
    views = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*.json*")}

    with monkeypatch.context() as nothing:
        for name in ("load_inputs", "executor_of"):
            nothing.setattr(f"evalkit.runner.run.{name}", lambda *given: pytest.fail("it was begun anew"))
        again = evaluate(**order, output=tmp_path / "run")  # type: ignore[arg-type]
    assert again.records == first.records
    assert again.comparison == first.comparison
    assert (tmp_path / "run/records.jsonl").stat().st_mtime_ns == views[tmp_path / "run/records.jsonl"]
    manifest = RunDir.open(tmp_path / "run").manifest()
    assert [each.status for each in manifest.invocations] == ["complete", "complete"]

    answering(answers, "y")  # another checkpoint in its place
    later = evaluate(**order, output=tmp_path / "run")  # type: ignore[arg-type]
    assert {record.arm for record in later.records}.isdisjoint({record.arm for record in first.records})


def test_another_checkpoint_under_one_name_is_kept_apart_and_said(tmp_path: Path) -> None:
    for text in "xy":
        answers = answering(tmp_path / "answers.json", text)
        order = ["run", "--model", f"mock:answers={answers}", "--tasks", "mini_docvqa", "--limit", "2"]
        said = fork_server.evalkit(*order, "--output", str(tmp_path / "run"), *RELIABLE[:-1])
        assert said.returncode == 0, said.stderr
    assert "is kept apart from" in said.stderr
    assert len(RunDir.open(tmp_path / "run").manifest().arms) == 2


def test_one_run_is_scored_in_one_way(tmp_path: Path) -> None:
    run(tmp_path / "run", "--limit", "2")
    order = ["run", "--model", "mock:fixed=A", "--rope", "mrope", "--tasks", "mini_docvqa", "--limit", "2"]
    done = fork_server.evalkit(*order, "--output", str(tmp_path / "run"), "--official-random", "7")
    assert done.returncode == 2
    assert "a run is scored in one way" in done.stderr


def test_rates_over_their_limit_end_a_run_with_3_and_mark_the_row(tmp_path: Path) -> None:
    order = (
        "run",
        "--model",
        "mock:fixed=nothing",
        "--tasks",
        "mini_video",
        "--limit",
        "4",
        "--workers",
        "0",
    )
    done = fork_server.evalkit(*order, "--output", str(tmp_path / "run"))
    assert done.returncode == 3, done.stderr
    assert "UNRELIABLE" in done.stdout
    assert "100.0% unparsed (limit 20.0%)" in done.stderr
    for form in ("terminal", "markdown", "csv", "latex", "html"):
        shown = fork_server.evalkit("compare", str(tmp_path / "run"), "--format", form)
        assert "UNRELIABLE" in shown.stdout or "100.0% unparsed" in shown.stdout, form
    again = fork_server.evalkit(*order, "--output", str(tmp_path / "run"))
    assert again.returncode == 3
    allowed = fork_server.evalkit(*order, "--output", str(tmp_path / "b"), "--rate-limit", "unparsed=1")
    assert allowed.returncode == 0
    assert "UNRELIABLE" not in allowed.stdout


@pytest.mark.parametrize("lost", ["plans/*.json", "records.jsonl", "manifest.json"])
def test_what_was_deleted_is_made_again_by_the_same_command(tmp_path: Path, lost: str) -> None:
    output = tmp_path / "run"
    run(output, "--limit", "3")
    for path in output.glob(lost):
        path.unlink()
    assert "mini_docvqa 3;" in run(output, "--limit", "3")
    assert len(journalled(output)) == 3  # nothing was answered again
    (cells,) = compare(output).cells.values()
    assert cells["mini_docvqa"].whole
