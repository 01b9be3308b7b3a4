"""Tokenizer and processor settings from another model, for checkpoints that were saved without."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoint_folders as checkpoint_folders
import pytest
import transformers
import yaml
from checkpoint_folders import FAMILIES, TEXT_ONLY

from evalkit import evaluate
from evalkit.ci.check import update
from evalkit.cli import run_cli
from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import EnvironmentProblem, EvalkitError, ExitCode, UsageError
from evalkit.models import describe_model, load_model
from evalkit.models.base import LoadConfig
from evalkit.store import RunDir

PARTS = ("no tokenizer", "no chat template", "no processor settings")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder of each family in the hub's layout."""
    home = tmp_path_factory.mktemp("hub")

    def folder(family: str) -> Path:
        path = home / family
        return path if path.exists() else checkpoint_folders.hub_layout(path, family)

    return folder


@pytest.fixture
def base(hub: Callable[[str], Path]) -> Path:
    return hub("qwen2_5_vl")


@pytest.fixture
def bare(base: Path, tmp_path: Path) -> Path:
    return checkpoint_folders.model_only(base, tmp_path / "tuned")


def refused(folder: Path | str, **options: Any) -> EvalkitError:
    with pytest.raises(EvalkitError) as caught:
        load_model(str(folder), device="cpu", **options)
    return caught.value


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_alone_is_lent_what_it_lacks(family: str, hub: Callable[[str], Path], tmp_path: Path) -> None:
    """Without, all that is missing is named at once; with it, the base's files are read and hashed."""
    base, folder = hub(family), checkpoint_folders.model_only(hub(family), tmp_path / "tuned")
    error = refused(folder)
    assert isinstance(error, EnvironmentProblem)
    assert all(part in error.why for part in PARTS)
    assert "give `--processor BASE`" in error.fix
    model: Any = load_model(str(folder), device="cpu", processor=str(base))
    own = load_model(str(base), device="cpu")
    assert {
        model.info.identity[name] for name in ("tokenizer", "processor", "chat template", "preprocessing")
    } == {own.info.identity[name] for name in ("tokenizer", "processor", "chat template", "preprocessing")}
    assert f"tokenizer and processor settings are taken from `{base}`" in model.info.notes
    assert {path.parent for path in model.info.files} == {folder, base}


def test_another_lender_is_another_identity(base: Path, bare: Path, tmp_path: Path) -> None:
    other = checkpoint_folders.copied(base, tmp_path / "other")
    checkpoint_folders.rewritten(other / "preprocessor_config.json", image_mean=[0.1, 0.2, 0.3])
    one, two = (
        describe_model(str(bare), load_config=LoadConfig(device="cpu", processor=str(each)))
        for each in (base, other)
    )
    assert one.identity["processor"] != two.identity["processor"]
    assert one.fingerprint != two.fingerprint


def name_in_config(folder: Path, name: str) -> None:
    """As transformers 4 wrote it."""
    checkpoint_folders.rewritten(folder / "config.json", _name_or_path=name)


def name_in_card(folder: Path, name: str) -> None:
    """As the model card of transformers' Trainer begins (`modelcard.TrainingSummary.create_metadata`)."""
    (folder / "README.md").write_text(
        f"---\nlibrary_name: transformers\nbase_model: {name}\n---\n\n# tuned\n"
    )


def name_in_swift(folder: Path, name: str) -> None:
    """`args.json` of ms-swift (its `BaseArguments.save_args`)."""
    (folder / "args.json").write_text(
        json.dumps({"model": name, "model_type": "qwen2_5_vl", "tuner": "full"})
    )


def name_in_llamafactory(folder: Path, name: str) -> None:
    (folder / "training_args.yaml").write_text(f"bf16: true\nmodel_name_or_path: {name}\nstage: sft\n")


@pytest.mark.parametrize("name_it", [name_in_config, name_in_card, name_in_swift, name_in_llamafactory])
@pytest.mark.parametrize("named", ["folder", "Qwen/Qwen2.5-VL-7B-Instruct", "/no/such/folder"])
def test_the_base_is_named_but_not_taken(
    named: str, name_it: Callable[[Path, str], None], base: Path, bare: Path
) -> None:
    name = str(base) if named == "folder" else named
    name_it(bare, name)
    fix = refused(bare).fix
    if named.startswith("/no"):
        assert "`--processor BASE`" in fix
        assert f"names `{name}`, which is not here" in fix
    else:
        assert f"give `--processor {name}`" in fix


def test_the_folder_of_a_training_lends_to_its_steps(base: Path, tmp_path: Path) -> None:
    run = checkpoint_folders.trained(base, tmp_path / "run")
    step = run / "checkpoint-500"
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "processor_config.json"):
        (step / name).unlink()
    assert f"give `--processor {run}`" in refused(step).fix
    load_model(str(step), device="cpu", processor=str(run))


def test_its_own_processor_is_never_overridden(base: Path, tmp_path: Path) -> None:
    own = checkpoint_folders.saved_by_5(base, tmp_path / "own")
    error = refused(own, processor=str(base))
    assert isinstance(error, UsageError)
    assert "is ambiguous" in error.what
    assert "of its own" in error.why


def test_a_lender_of_another_family_or_without_a_processor(
    hub: Callable[[str], Path], bare: Path, tmp_path: Path
) -> None:
    assert "of the family `qwen2_vl`" in refused(bare, processor=str(hub("qwen2_vl"))).why
    why = refused(bare, processor=str(checkpoint_folders.model_only(bare, tmp_path / "x"))).why
    assert "neither it nor `--processor" in why
    assert all(part.removeprefix("no ") in why for part in PARTS)
    assert "not found" in refused(bare, processor="/no/such/folder").what


def test_a_lender_with_more_tokens_than_the_model_has_embeddings(
    base: Path, bare: Path, tmp_path: Path
) -> None:
    other = checkpoint_folders.copied(base, tmp_path / "other")
    tokenizer = transformers.AutoTokenizer.from_pretrained(other)
    tokenizer.add_tokens([f"<new{number}>" for number in range(40)])
    tokenizer.save_pretrained(other)
    assert "there are 272 embeddings" in refused(bare, processor=str(other)).why


def test_half_a_tokenizer_is_not_made_whole(base: Path, bare: Path) -> None:
    shutil.copy(base / "tokenizer_config.json", bare)
    assert "files of two folders can't be mixed" in refused(bare, processor=str(base)).why


def test_a_processor_folder_without_a_model_lends(base: Path, bare: Path, tmp_path: Path) -> None:
    """`AutoProcessor.save_pretrained` alone."""
    transformers.AutoProcessor.from_pretrained(base).save_pretrained(tmp_path / "processor")
    load_model(str(bare), device="cpu", processor=str(tmp_path / "processor"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trainer_that_had_a_tokenizer_alone(
    family: str, hub: Callable[[str], Path], tmp_path: Path
) -> None:
    """Its tokenizer is its own, with a chat template that knows media."""
    base, folder = hub(family), checkpoint_folders.trained_with_tokenizer(hub(family), tmp_path / "tuned")
    assert refused(folder).why.startswith("it has no processor settings (")
    model = load_model(str(folder), device="cpu", processor=str(base))
    assert f"the processor settings are taken from `{base}`, the tokenizer is its own" in model.info.notes
    assert folder / "tokenizer.json" in model.info.files


@pytest.fixture
def text_only(base: Path, tmp_path: Path) -> Path:
    """Of Qwen2.5-VL as published, whose tokenizer has a chat template of its own, without media."""
    published = checkpoint_folders.copied(base, tmp_path / "published")
    settings = json.loads((published / "tokenizer_config.json").read_text())
    (published / "chat_template.json").write_text(json.dumps({"chat_template": settings["chat_template"]}))
    checkpoint_folders.rewritten(published / "tokenizer_config.json", chat_template=TEXT_ONLY)
    folder = checkpoint_folders.trained_with_tokenizer(published, tmp_path / "tuned")
    assert "image" not in (folder / "chat_template.jinja").read_text()
    return folder


def test_a_template_without_media_is_not_that_of_the_processor(text_only: Path, base: Path) -> None:
    """Also where the tokenizer has tokens of its own; the template's files are watched and hashed."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(text_only)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(text_only)
    model: Any = load_model(str(text_only), device="cpu", processor=str(base))
    assert (
        model.info.identity["chat template"]
        == load_model(str(base), device="cpu").info.identity["chat template"]
    )
    assert any("knows of no media" in note for note in model.info.notes)
    assert "<new>" in Path(model.info.preprocessor.tokenizer_file).read_text()
    assert base / "tokenizer_config.json" in model.info.files


def test_an_adapter_and_its_base_may_both_lack_it(base: Path, bare: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    model = peft.get_peft_model(
        checkpoint_folders.model_of(bare), peft.LoraConfig(r=2, target_modules=["q_proj"])
    )
    model.save_pretrained(tmp_path / "adapter")
    error = refused(tmp_path / "adapter")
    assert "an adapter of" in error.what
    assert f"neither it nor its base `{bare}` has a tokenizer" in error.why
    load_model(str(tmp_path / "adapter"), device="cpu", processor=str(base))


WORDS = ("--tasks", "mini_chartqa", "--limit", "2", "--workers", "0", "--device", "cpu")
LOOSE = ("--rate-limit", "unparsed=1,truncated=1,repeating=1")


def test_of_several_models_those_without_are_lent_it(
    base: Path, bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--model", f"{bare},{base}", "--processor", str(base), *WORDS, *LOOSE]
    assert run_cli([*words, "--output", str(tmp_path / "out")]) == ExitCode.OK
    said = " ".join(capsys.readouterr().err.split())
    assert f"tokenizer and processor settings are taken from `{base}`" in said
    assert f"has a tokenizer and processor of its own: `--processor {base}` is for others" in said
    arms = RunDir.open(tmp_path / "out").manifest().arms
    assert [any("taken from" in note for note in arm.notes) for arm in arms] == [True, False]


def test_one_model_with_its_own_is_refused_by_the_command_line(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in (str(base), "mock"):
        words = ["run", "--model", model, "--processor", str(base), *WORDS, "--output", str(tmp_path / "o")]
        assert run_cli(words) == ExitCode.USAGE
        assert f"`--processor {base}`" in capsys.readouterr().err.replace("\n", " ")


def test_check_says_what_it_is_and_what_is_lent(
    base: Path, bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["models", "check", str(bare)]) == ExitCode.ENVIRONMENT
    assert "no tokenizer" in " ".join(capsys.readouterr().err.split())
    code = run_cli(["models", "check", str(bare), "--processor", str(base), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (code == ExitCode.OK) == found["passed"]
    assert "a checkpoint of the family `qwen2_5_vl`" in found["facts"]["folder"]
    assert "tokenizer and processor settings are taken from" in found["facts"]["note"]


def test_from_a_file_from_python_and_in_a_baseline(
    base: Path, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"model": str(bare), "processor": str(base), "tasks": "mini_chartqa", "limit": 1, "workers": 0}
    config |= {"rate_limits": {"unparsed": 1, "truncated": 1, "repeating": 1}, "device": "cpu"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    out = str(tmp_path / "out")
    assert run_cli(["run", "--config", str(tmp_path / "run.yaml"), "--output", out]) == ExitCode.OK
    values = {"limit": 1, "workers": 0, "device": "cpu"}
    again = evaluate(str(bare), "mini_chartqa", processor=str(base), output=out, **values)
    assert len(again.records) == 1
    spec = RunSpec(models=str(bare), tasks="mini_chartqa", processor=str(base), **values)
    assert spec.run_path() != spec.with_options(processor=None).run_path()
    update(tmp_path / "baseline", spec)
    assert yaml.safe_load((tmp_path / "baseline/order.yaml").read_text())["processor"] == str(base)
