"""`evalkit doctor`: the machine with what to install, and a model's answers alone and in batches."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli import run_cli
from evalkit.core import provenance
from evalkit.core.types import MediaRef, Request, Response
from evalkit.engine.optimizations import Optimizations
from evalkit.models import describe_model
from evalkit.runner import batch_check, environment
from evalkit.runner.environment import EXTRAS, Finding, examine

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "unreachable", lambda: "the hub can't be reached: no network")


def by_name(found: Sequence[Finding]) -> Mapping[str, Finding]:
    return {each.name: each for each in found}


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = run_cli(["doctor", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_everything_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "work"
    own.mkdir()
    monkeypatch.chdir(own)
    found = by_name(examine())
    extras = {f"extra {name}" for name in EXTRAS}
    parts = {
        "Python",
        "torch",
        "transformers",
        "FFmpeg",
        "cache",
        "output",
        "hub's cache",
        "folder above",
        "hub",
    }
    assert parts | extras <= set(found)
    assert found["folder above"].found.startswith(f"`{tmp_path}`, ")
    assert found["FFmpeg"].state == "ok"
    assert "frames decoded" in found["FFmpeg"].found
    assert found["torch"].found == provenance.versions()["torch"]
    assert found["hub"].state == "note"
    assert "evalkit data pull" in found["hub"].fix
    assert not list(own.iterdir())


def test_extras_are_those_of_the_package() -> None:
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS) == set(declared) - {"dev"}


def test_what_is_missing_comes_with_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else there(name, *rest)
    )
    versions = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: {**versions, "transformers": None})
    monkeypatch.setattr(provenance, "TESTED", {"torch": ("99.0", "99.1"), "transformers": ("1", "99")})
    found = by_name(examine())
    assert (found["extra peft"].state, found["extra peft"].fix) == ("note", "pip install 'evalkit[peft]'")
    assert (found["transformers"].state, found["transformers"].fix) == ("failed", "pip install transformers")
    assert found["torch"].state == "failed"
    assert found["torch"].fix == "pip install 'torch>=99.0'"


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**where: object) -> None:
        if str(where["dir"]) in (str(tmp_path), str(tmp_path / "cache")):
            raise PermissionError(13, "Permission denied")
        return real(**where)  # type: ignore[arg-type,return-value]

    real = environment.tempfile.TemporaryDirectory
    (tmp_path / "work").mkdir()
    (tmp_path / "cache").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(environment.tempfile, "TemporaryDirectory", refuse)
    found = by_name(environment._folders())
    assert (found["cache"].state, found["folder above"].state) == ("failed", "note")
    assert "EVALKIT_CACHE" in found["cache"].fix
    assert found["output"].state == "ok"


def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fine = [Finding("Python", "ok", "3.12"), Finding("hub", "note", "not reached", "pull")]
    monkeypatch.setattr(environment, "examine", lambda: fine)
    assert doctor(capsys)[0] == 0
    code, found = doctor(capsys, "--model", "mock")
    assert code == 0
    assert [(each["batch_size"], each["media"]) for each in found["model"]["results"]] == [
        (1, "one kind"), (2, "one kind"), (8, "one kind"), (8, "mixed")
    ]  # fmt: skip
    assert {each["prompts"] for each in found["model"]["results"]} == {32}
    broken = [*fine, Finding("torch", "failed", "not installed", "pip install torch")]
    monkeypatch.setattr(environment, "examine", lambda: broken)
    code, found = doctor(capsys, "--model", "mock")
    assert (code, found["model"]) == (4, None)
    assert run_cli(["doctor"]) == 4
    shown = capsys.readouterr().out
    assert "torch   FAILED  not installed" in shown
    assert "torch  pip install torch" in shown


@pytest.mark.parametrize(("dtype", "code"), [("float32", 1), ("bfloat16", 0)])
def test_changed_texts(
    dtype: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = batch_check._answers

    def answers(
        executor: Any, parts: Any, size: int, only: Optimizations | None = None
    ) -> dict[str, Response]:
        found = real(executor, parts, size, only)
        wrong = "video 3" if size == 8 else ""
        return {key: replace(each, text="else") if key == wrong else each for key, each in found.items()}

    monkeypatch.setattr(environment, "examine", lambda: [Finding("Python", "ok", "3.12")])
    monkeypatch.setattr(batch_check, "_answers", answers)
    monkeypatch.setattr(
        batch_check, "BatchCheck", lambda arm, _, results, left_out: Check(arm, dtype, results, left_out)
    )
    found = doctor(capsys, "--model", "mock")
    assert found[0] == code
    assert [each["changed"] for each in found[1]["model"]["results"]] == [[], [], ["video 3"], ["video 3"]]
    assert found[1]["model"]["results"][2]["share"] == 1 / 32
    assert run_cli(["doctor", "--model", "mock"]) == code
    shown = capsys.readouterr().out
    assert "1 of 32 texts changed (3.1%): video 3" in shown
    assert ("--deterministic" in shown) == (code == 0)


Check = batch_check.BatchCheck


def test_the_fixture_prompts_are_of_four_kinds() -> None:
    prompts = batch_check.fixture_prompts()
    assert {kind: len(own) for kind, own in prompts.items()} == dict.fromkeys(batch_check.KINDS, 8)
    kinds = {
        kind: {tuple(sorted({part.kind for part in each if isinstance(part, MediaRef)})) for each in own}
        for kind, own in prompts.items()
    }
    assert kinds == {
        "text": {()},
        "image": {("image",)},
        "several images": {("image",)},
        "video": {("video",)},
    }
    several = [sum(isinstance(part, MediaRef) for part in each) for each in prompts["several images"]]
    assert min(several) >= 2
    info = describe_model("mock")
    requests: list[Request] = [each for own in batch_check._requests(info)[0].values() for each in own]
    assert len({(each.prompt, each.media) for each in requests}) == 32


def test_kinds_that_a_family_does_not_take_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    info = describe_model("mock")
    monkeypatch.setattr(type(info.preprocessor), "placeholders", {"image": "<image>"}, raising=False)
    requests, left_out = batch_check._requests(info)
    assert set(requests) == set(batch_check.KINDS) - {"video"}
    assert left_out == {"video": "the family mock takes no videos"}


def test_a_real_model(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "examine", lambda: [Finding("Python", "ok", "3.12")])
    code, found = doctor(capsys, "--model", "tiny", "--rope", "mrope-i", "--device", "cpu")
    assert code == 0, found
    assert found["model"]["dtype"] == "float32"
    assert all(not each["changed"] and not each["errors"] for each in found["model"]["results"])
    assert found["model"]["left_out"] == {}
