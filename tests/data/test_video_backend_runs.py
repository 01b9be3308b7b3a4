"""`evalkit run --video-backend`: what decoded the videos is stored, and is part of the identity."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli import run_cli
from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import ExitCode


def run(output: Path, *words: str) -> int:
    """The exit code of a small run on videos."""
    asked = ("run", "--model", "tiny", "--tasks", "mini_video", "--limit", "2", "--output", str(output))
    return run_cli([*asked, "--workers", "0", "--device", "cpu", "--max-frames", "4", "--quiet", *words])


def arms(output: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((output / "manifest.json").read_text())["arms"]
    return found


def test_the_backend_is_stored_and_part_of_the_identity(tmp_path: Path) -> None:
    out = tmp_path / "run"
    limits = ("--rate-limit", "unparsed=1,truncated=1,repeating=1")
    assert run(out, *limits) == run(out, *limits, "--video-backend", "decord") == ExitCode.OK
    first, second = (arm["identity"] for arm in arms(out))
    assert "video backend" not in first  # as before there was a choice
    assert second["video backend"].startswith("decord ")
    assert {name for name in second if second[name] != first.get(name)} == {"video backend", "preprocessing"}
    commands = json.loads((out / "manifest.json").read_text())["invocations"]
    assert [each["spec"]["video_backend"] for each in commands] == ["pyav", "decord"]
    samples = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert len(samples) == 4
    assert not any(each["error"] for each in samples)


def test_a_backend_that_is_not_installed_ends_with_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    assert run(tmp_path / "run", "--video-backend", "torchcodec") == ExitCode.ENVIRONMENT
    told = capsys.readouterr().err
    assert "the video backend `torchcodec` can't be loaded" in told
    assert "pip install 'evalkit[torchcodec]'" in told


def test_the_folder_of_a_run_without_the_option_is_what_it_was() -> None:
    spec = RunSpec(models=("tiny",), tasks=("mini_video",))
    assert spec.run_path() == spec.with_options(video_backend="pyav").run_path()
    assert spec.run_path() != spec.with_options(video_backend="decord").run_path()
