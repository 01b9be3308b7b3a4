"""`--model RUN/checkpoint-*`: every checkpoint of a training, in the order of its steps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import checkpoint_folders as checkpoint_folders
import pytest

from evalkit.cli import run_cli
from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import EvalkitError, ExitCode, UsageError
from evalkit.models.checkpoints.series import is_pattern, with_all_steps, with_shell_expanded
from evalkit.models.checkpoints.source import short_name
from evalkit.store import RunDir

STEPS = ("checkpoint-500", "checkpoint-1000", "checkpoint-1500")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training with whole weights in every step and on top, as the Trainer leaves it."""
    home = tmp_path_factory.mktemp("trained")
    run = checkpoint_folders.copied(checkpoint_folders.hub_layout(home / "base", "qwen2_5_vl"), home / "run")
    for step in STEPS:
        checkpoint_folders.copied(home / "base", run / step)
    (run / "runs").mkdir()
    (run / "trainer_state.json").write_text("{}")
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return checkpoint_folders.copied(trained, tmp_path / "RUN")


def models(*names: str | Path) -> tuple[str, ...]:
    return with_all_steps(RunSpec(models=[str(each) for each in names], tasks="mini")).models


@pytest.mark.parametrize(
    "variant", ["", "mrope=", "mrope-i(temporal_stride=2)=", "position=grid,frequency=chunk="]
)
def test_steps_are_run_as_they_are_counted(variant: str, run: Path) -> None:
    assert models(f"{variant}{run}/checkpoint-*") == tuple(f"{variant}{run}/{step}" for step in STEPS)


def test_a_slash_at_the_end_is_the_same(run: Path) -> None:
    assert models(f"{run}/checkpoint-*/") == tuple(f"{run}/{step}" for step in STEPS)


def test_a_pattern_beside_other_models(run: Path) -> None:
    assert models("tiny", f"{run}/checkpoint-1*", run) == (
        "tiny",
        f"{run}/checkpoint-1000",
        f"{run}/checkpoint-1500",
        str(run),
    )


def test_a_pattern_from_home_and_of_folders_in_between(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(run.parent))
    assert models("~/RUN/checkpoint-[15]*0") == tuple(str(run / step) for step in STEPS)
    shutil.copytree(run, run.parent / "RUN-2")
    found = models(f"{run.parent}/RUN*/checkpoint-500")
    assert [Path(each).parent.name for each in found] == ["RUN", "RUN-2"]


def test_adapters_of_a_base(run: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    model = peft.get_peft_model(
        checkpoint_folders.model_of(run), peft.LoraConfig(r=2, target_modules=["q_proj"])
    )
    for step in STEPS:
        model.save_pretrained(tmp_path / "lora" / step)
    expected = [f"{tmp_path}/lora/{step}" for step in STEPS]
    assert models(f"{tmp_path}/lora/checkpoint-*") == tuple(expected)
    assert models(f"{run}+{tmp_path}/lora/checkpoint-*") == tuple(f"{run}+{each}" for each in expected)


def test_no_pattern() -> None:
    for name in ("mock:fixed=what?", "mock:fixed=[a]", "tiny", "org/name"):
        assert not is_pattern(name)
        assert models(name) == (name,)


def test_a_folder_with_such_a_name_is_no_pattern(run: Path) -> None:
    odd = run.rename(run.parent / "run[1]*")
    assert models(odd) == (str(odd),)


@pytest.mark.parametrize("variant", ["", "mrope="])
def test_what_matches_nothing(variant: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder matches this pattern"):
        models(f"{variant}{tmp_path}/checkpoint-*")


def test_what_is_no_checkpoint_is_named(run: Path) -> None:
    (run / "checkpoint-2000").mkdir()
    checkpoint_folders.with_files(settings=True)(run / STEPS[0], run / "checkpoint-2500")
    (run / "checkpoint-notes.txt").write_text("x")
    with pytest.raises(UsageError) as caught:
        models(f"{run}/checkpoint-*")
    assert "matches 3 of 6 that are no checkpoint" in caught.value.what
    for words in ("checkpoint-2000` (empty folder)", "checkpoint-2500` (no weights)"):
        assert words in caught.value.why
    assert "checkpoint-notes.txt` (a file)" in caught.value.why
    with pytest.raises(UsageError, match=r"trainer_state\.json` \(a file\)"):
        models(f"{run}/*")


def test_steps_without_a_processor_are_lent_one(run: Path) -> None:
    """A checkpoint that lacks only that is none to be refused here."""
    for step in STEPS:
        for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
            (run / step / name).unlink()
        (run / step / "video_preprocessor_config.json").unlink()
    assert len(models(f"{run}/checkpoint-*")) == 3


def test_the_shell_may_have_taken_the_pattern_apart(run: Path) -> None:
    """It puts all but the first after the option, in the order of letters."""
    other = checkpoint_folders.copied(run, run.parent / "OTHER")
    one, two = ([str(each / step) for step in STEPS] for each in (run, other))
    given = (sorted(one)[0], "tiny", sorted(two)[0])
    assert with_shell_expanded(given, [*sorted(one)[1:], *sorted(two)[1:]]) == (*one, "tiny", *two)


@pytest.mark.parametrize("more", ["nonsense", "OTHER/checkpoint-500", "RUN/trainer_state.json"])
def test_other_arguments_are_refused(
    more: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    checkpoint_folders.copied(run, run.parent / "OTHER")
    words = ["run", "--model", "RUN/checkpoint-500", more, "--tasks", "mini_chartqa"]
    assert run_cli(words) == ExitCode.USAGE
    assert f"unexpected argument `{more}`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("RUN/checkpoint-500", "RUN/checkpoint-500"),
        ("RUN/global_step40", "RUN/global_step40"),
        ("RUN/epoch_2", "RUN/epoch_2"),
        ("RUN/Qwen2.5-VL-3B", "Qwen2.5-VL-3B"),
        ("RUN/steps-of-mine", "steps-of-mine"),
    ],
)
def test_a_step_goes_by_the_name_of_its_training(
    name: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert short_name(name) == shown


def words_for(*names: str) -> list[str]:
    rest = ["--tasks", "mini_chartqa", "--limit", "1", "--workers", "0", "--device", "cpu", "--quiet"]
    return ["run", *names, *rest, "--rate-limit", "unparsed=1,truncated=1,repeating=1"]


def arms(folder: Path | str) -> list[str]:
    return [arm.arm for arm in RunDir.open(Path(folder)).manifest().arms]


def test_the_command_line_runs_what_is_there_each_time(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into one directory: a step that was saved since then is no reason to begin anew, nor to be left out."""
    monkeypatch.chdir(tmp_path)
    later = run / "checkpoint-1500"
    later.rename(tmp_path / "later")
    words = words_for("--model", "RUN/checkpoint-*")
    assert run_cli(words) == ExitCode.OK
    [out] = (tmp_path / "results").iterdir()
    assert arms(out) == ["RUN/checkpoint-500@mrope", "RUN/checkpoint-1000@mrope"]
    (tmp_path / "later").rename(later)
    assert run_cli(words) == ExitCode.OK
    assert arms(out) == [f"RUN/{step}@mrope" for step in STEPS]
    assert [path.name for path in (tmp_path / "results").iterdir()] == [out.name]
    assert RunDir.open(out).manifest().invocations[-1].spec.models == tuple(f"RUN/{step}" for step in STEPS)
    table = capsys.readouterr().out
    assert table.rfind("checkpoint-500@") < table.rfind("checkpoint-1000@") < table.rfind("checkpoint-1500@")
    assert run_cli([*words, "--dry-run"]) == ExitCode.OK
    said = capsys.readouterr().out
    assert f"would write to results/{out.name}" in said
    assert said.index("RUN/checkpoint-500@") < said.index("RUN/checkpoint-1500@")


def test_a_step_of_another_training_goes_by_its_own_name(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint_folders.copied(run / "checkpoint-500", tmp_path / "OTHER" / "checkpoint-500")
    words = words_for(
        "--model", "RUN/checkpoint-500", "RUN/checkpoint-1000", "--model", "OTHER/checkpoint-500"
    )
    assert run_cli([*words, "--output", "out"]) == ExitCode.OK
    assert arms("out") == [
        "RUN/checkpoint-500@mrope",
        "RUN/checkpoint-1000@mrope",
        "OTHER/checkpoint-500@mrope",
    ]


def test_a_pattern_in_a_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(f"model: mrope-i={run}/checkpoint-1*\n")
    words = words_for("--config", str(tmp_path / "run.yaml"), "--output", str(tmp_path / "out"))
    assert run_cli(words) == ExitCode.OK
    assert arms(tmp_path / "out") == ["RUN/checkpoint-1000@mrope-i", "RUN/checkpoint-1500@mrope-i"]


def test_nothing_is_made_where_nothing_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_cli(words_for("--model", "RUN/checkpoint-*")) == ExitCode.USAGE
    assert not (tmp_path / "results").exists()


def test_errors_are_errors(run: Path) -> None:
    """A damaged step is told as such."""
    (run / "checkpoint-500" / "config.json").write_text("{")
    with pytest.raises(EvalkitError, match=r"checkpoint-500` \("):
        models(f"{run}/checkpoint-*")


def test_the_options_of_a_spec_stay(run: Path) -> None:
    spec: Any = RunSpec(models=f"{run}/checkpoint-*", tasks="mini", limit=3, ropes=["mrope", "mrope-i"])
    found = with_all_steps(spec)
    assert (found.limit, found.ropes, len(found.systems())) == (3, ("mrope", "mrope-i"), 6)
