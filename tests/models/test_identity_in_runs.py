"""A run stores what its checkpoints are, says what is ignored of them, and never mixes two of one name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_qwen import make_model, save_checkpoint

from evalkit import evaluate
from evalkit.runner.reporter import SilentReporter
from evalkit.store import RunDir


class Heard(SilentReporter):
    """Keeps the notes of a run."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def run(folder: Path, checkpoint: Path, **options: object) -> list[str]:
    heard = Heard()
    evaluate(
        str(checkpoint),
        "mini_docvqa",
        limit=2,
        workers=0,
        output=folder / "run",
        reporter=heard,
        **options,  # type: ignore[arg-type]
    )
    return heard.notes


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model = make_model()
    model.generation_config.do_sample = True
    model.generation_config.repetition_penalty = 1.05
    return save_checkpoint(tmp_path / "ckpt", model)


def test_what_is_ignored_of_a_checkpoint_is_said_and_stored(tmp_path: Path, checkpoint: Path) -> None:
    notes = run(tmp_path, checkpoint)
    assert any(
        "ckpt@mrope: decoding is greedy" in note and "repetition_penalty=1.05" in note for note in notes
    )
    (arm,) = RunDir.open(tmp_path / "run").manifest().arms
    assert "repetition_penalty=1.05" in arm.notes[0]
    assert {"weights", "config", "tokenizer", "dtype", "compile", "generation", "torch"} <= set(arm.identity)


def test_replaced_weights_are_another_arm_and_what_differs_is_named(tmp_path: Path, checkpoint: Path) -> None:
    run(tmp_path, checkpoint)
    model = make_model()
    model.model.visual.merger.mlp[0].weight.data += 1e-3
    model.generation_config.do_sample = True
    model.generation_config.repetition_penalty = 1.05
    save_checkpoint(checkpoint, model)
    notes = run(tmp_path, checkpoint)
    (said,) = [note for note in notes if "kept apart" in note]
    assert "they differ in weights (" in said
    manifest = RunDir.open(tmp_path / "run").manifest()
    assert [arm.arm.partition("#")[0] for arm in manifest.arms] == ["ckpt@mrope"] * 2
    records = RunDir.open(tmp_path / "run").records()
    assert {record.arm for record in records} == {arm.arm for arm in manifest.arms}


def test_another_dtype_is_another_arm(tmp_path: Path, checkpoint: Path) -> None:
    run(tmp_path, checkpoint)
    notes = run(tmp_path, checkpoint, dtype="bfloat16")
    (said,) = [note for note in notes if "kept apart" in note]
    assert "dtype (float32 there, bfloat16 here)" in said
    assert len(RunDir.open(tmp_path / "run").records()) == 4


def test_a_finished_run_is_repeated_without_weights_where_data_may_have_changed(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, checkpoint)
    with monkeypatch.context() as patch:
        patch.setattr("evalkit.runner.run.reuse_finished", lambda *given: None)
        patch.setattr(
            "evalkit.models.hf_model.HfModelInfo.load", lambda self: pytest.fail("weights are loaded")
        )
        run(tmp_path, checkpoint)
    statuses = [each.status for each in RunDir.open(tmp_path / "run").manifest().invocations]
    assert statuses == ["complete", "complete"]


@pytest.mark.parametrize("what", ["a file laid beside", "a file replaced", "a file touched by nobody"])
def test_a_command_is_repeated_unseen_only_if_its_checkpoint_is_as_it_was(
    tmp_path: Path, checkpoint: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, checkpoint)
    if what == "a file laid beside":
        (checkpoint / "chat_template.jinja").write_text((checkpoint / "config.json").read_text())
    if what == "a file replaced":
        weights = checkpoint / "model.safetensors"
        times = weights.stat()
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    with monkeypatch.context() as patch:
        patch.setattr("evalkit.runner.run.load_inputs", lambda *given: (_ for _ in ()).throw(LookupError))
        if what == "a file touched by nobody":
            assert run(tmp_path, checkpoint) == [
                "finished before, and nothing has changed since: nothing is loaded"
            ]
        else:
            with pytest.raises(LookupError):
                run(tmp_path, checkpoint)


def test_a_relative_name_means_another_folder_elsewhere(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(tmp_path, Path("ckpt"))
    (tmp_path / "elsewhere").mkdir()
    model = make_model()
    model.lm_head.weight.data += 0.5
    save_checkpoint(tmp_path / "elsewhere/ckpt", model)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert any("kept apart" in note for note in run(tmp_path, Path("ckpt")))
