"""A run can be killed at any instant and loses at most the batch in flight."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import fork_server

from evalkit.store import RunDir

TASKS = "mini_docvqa,mini_chartqa,mini_refcoco,mini_video"


def words(output: Path, *extra: str, seconds: float = 0.15) -> list[str]:
    """A run whose every batch takes so many seconds."""
    some = ["run", "--model", f"mock:slow={seconds}", "--tasks", TASKS, "--limit", "10", "--batch-size", "2"]
    some += ["--rate-limit", "unparsed=1"]  # it answers with its prompt
    return [*some, "--output", str(output), "--workers", "1", "--quiet", *extra]


def journalled(output: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in output.glob("journal/*.jsonl"))


def test_sigkill_then_the_same_command_does_only_what_is_missing(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = fork_server.start(*words(killed))
    while journalled(killed) < 6 and process.poll() is None:
        time.sleep(0.02)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    children = workers.read_text().split() if workers.exists() else []
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while any(Path(f"/proc/{child}").exists() for child in children):
        time.sleep(0.05)  # preprocessing workers must not outlive the run
    before = journalled(killed)
    assert 6 <= before < 40

    again = fork_server.evalkit(*words(killed, "--batch-size", "5"))
    assert again.returncode == 0, again.stderr
    assert journalled(killed) == 40  # nothing was run twice

    assert fork_server.evalkit(*words(whole)).returncode == 0
    first = [record.without_timings() for record in RunDir.open(killed).records()]
    second = [record.without_timings() for record in RunDir.open(whole).records()]
    assert first == second
    assert len(first) == 40


def test_ctrl_c_keeps_what_was_finished_and_says_so(tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = fork_server.start(*words(output))
    while journalled(output) < 4 and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.wait() == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said
    assert journalled(output) >= 4


def test_a_torn_last_line_is_cut_and_its_sample_run_again(tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert fork_server.evalkit(*words(output, seconds=0)).returncode == 0
    journal = output / "journal" / "worker-000.jsonl"
    journal.write_bytes(journal.read_bytes()[:-25])
    assert fork_server.evalkit(*words(output, seconds=0)).returncode == 0
    keys = [json.loads(line)["key"] for line in journal.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == 40


def test_scoring_a_stored_run_again_needs_no_model(tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert fork_server.evalkit(*words(output, seconds=0)).returncode == 0
    before = (output / "records.jsonl").read_text()
    (output / "records.jsonl").unlink()
    done = fork_server.evalkit("score", str(output))
    assert done.returncode == 0, done.stderr
    assert (output / "records.jsonl").read_text() == before
