"""Without a network: the hub is asked once, and the message says how to get the data."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evalkit.core.registry import load_task
from evalkit.data.check import check
from evalkit.data.pull_spec import PullSpec

TASKS = "docvqa_val,chartqa,mvbench,refcoco_val,infovqa_val"


@contextmanager
def dead_hub() -> Iterator[tuple[str, list[str]]]:
    """A server that closes every connection without a word, and counts them."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            asked.append(self.requestline if hasattr(self, "requestline") else "connection")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evalkit", *words]
    own = {**os.environ, "HF_HOME": str(folder / "hf"), "EVALKIT_CACHE": str(folder / "cache"), **environment}
    own.pop("EVALKIT_DATA", None)
    return subprocess.run(command, env=own, capture_output=True, text=True, check=False, timeout=300)


def test_the_hub_is_asked_once(tmp_path: Path) -> None:
    with dead_hub() as (address, asked):
        done = run(
            tmp_path, "run", "--model", "mock", "--tasks", TASKS, "--output", str(tmp_path / "run"),
            "--workers", "0", HF_ENDPOINT=address,
        )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert len(asked) == 1
    assert done.stderr.count("\n") == 3, done.stderr
    assert "data of 5 of the 5 tasks" in done.stderr
    wanted = TASKS.replace(",", " ")
    assert f"`evalkit data pull {wanted} --data-root DIR`" in done.stderr
    assert "Retrying" not in done.stderr


def test_checkpoints_of_the_hub_share_the_question(tmp_path: Path) -> None:
    with dead_hub() as (address, asked):
        done = run(
            tmp_path, "run", "--model", "org/one,org/two,org/three", "--tasks", "mini_docvqa",
            "--output", str(tmp_path / "run"), "--workers", "0", HF_ENDPOINT=address,
        )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert len(asked) == 1
    assert "org/three" in done.stderr


def test_offline_mode_asks_nothing(tmp_path: Path) -> None:
    with dead_hub() as (address, asked):
        done = run(
            tmp_path, "run", "--model", "mock", "--tasks", "chartqa", "--output", str(tmp_path / "run"),
            "--workers", "0", "--dry-run", HF_ENDPOINT=address, HF_HUB_OFFLINE="1",
        )  # fmt: skip
    assert done.returncode == 4
    assert not asked
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert "evalkit data pull chartqa --data-root DIR" in done.stderr


def test_mirrors_that_are_missing_are_one_message(tmp_path: Path) -> None:
    done = run(tmp_path, "run", "--model", "mock", "--tasks", TASKS, "--data-root", str(tmp_path),
               "--output", str(tmp_path / "run"), "--workers", "0")  # fmt: skip
    assert done.returncode == 4
    assert done.stderr.count("\n") == 3, done.stderr
    assert f"fix: evalkit data pull {TASKS.replace(',', ' ')} --data-root {tmp_path}" in done.stderr


@pytest.mark.parametrize("there", [False, True])
def test_a_missing_mirror_is_one_line_of_a_check(tmp_path: Path, there: bool) -> None:
    tasks = [load_task(name) for name in TASKS.split(",")]
    if there:
        (tmp_path / "OpenGVLab/MVBench").mkdir(parents=True)
    found = check(PullSpec(tasks=tasks, data_root=tmp_path)).missing
    if there:
        lines = [each for each in found if "DocVQA" in each]
        assert lines == [
            f"lmms-lab-encoder/DocVQA: `{tmp_path / 'lmms-lab-encoder/DocVQA'}` does not exist "
            "(docvqa_val, infovqa_val)"
        ]
    else:
        assert len(found) == 1
        assert "has none of the 4 data sets" in found[0]
