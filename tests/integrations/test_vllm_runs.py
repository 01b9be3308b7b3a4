"""Commands with `--engine vllm`, on a package that calls itself vLLM: adapters, several engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from fake_vllm import make_environment, processes_in
from tiny_qwen import save_checkpoint

from evalkit.cli import run_cli
from evalkit.store import Record, RunDir


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_environment(tmp_path_factory.mktemp("fake"))


def command(python: str, output: Path, *more: str) -> list[str]:
    words = ["run", "--tasks", "mini_docvqa", "--workers", "0", "-q", "--output", str(output)]
    return [*words, "--engine", "vllm", "--vllm-python", python, *more]


def records(output: Path) -> list[Record]:
    return [record.without_timings() for record in RunDir.open(output).records()]


def test_an_adapter_is_refused_by_name_and_runs_when_it_is_merged(
    python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    base, adapter, merged = save_checkpoint(tmp_path / "base"), tmp_path / "adapter", tmp_path / "merged"
    model: Any = transformers.AutoModelForImageTextToText.from_pretrained(base)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    adapted.save_pretrained(adapter)
    more = ("--rope", "mrope", "--limit", "2", "--rate-limit", "unparsed=1")
    for number, name in enumerate((f"{adapter}", f"{base}+{adapter}")):
        words = command(python, tmp_path / f"out{number}", "--model", name, *more)
        assert run_cli(words) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"`--engine vllm` with the adapter `{name}`" in said
        assert "vLLM loads whole weights" in said
        assert "`merge_and_unload`, then `save_pretrained`" in said
        assert not (tmp_path / f"out{number}").exists()
    assert not Path(python).with_name("started").exists()

    adapted.merge_and_unload().save_pretrained(merged)
    transformers.AutoProcessor.from_pretrained(base).save_pretrained(merged)
    assert run_cli(command(python, tmp_path / "out", "--model", str(merged), *more)) == 0
    assert not any(record.failed for record in records(tmp_path / "out"))


def test_two_engines_answer_as_one_and_those_that_are_killed_are_started_again(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    words = ["--model", "tiny", "--rope", "mrope", "--limit", "16", "--batch-size", "1"]
    words += ["--rate-limit", "unparsed=1"]
    assert run_cli(command(python, tmp_path / "one", *words)) == 0
    monkeypatch.setenv("FAKE_VLLM", "die=6")
    with pytest.warns(UserWarning, match=r"died and is started again: .*vLLM process died"):
        code = run_cli(command(python, tmp_path / "two", *words, "--devices", "cpu,cpu"))
    assert code == 0
    assert records(tmp_path / "two") == records(tmp_path / "one")
    assert processes_in(python) == []
