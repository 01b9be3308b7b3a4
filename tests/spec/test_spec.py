from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.cli.run import read_spec
from evalkit.config.model_option import split_model_option
from evalkit.config.run_spec import RunSpec, SystemSpec, load_config, split_list
from evalkit.core.errors import UsageError


def spec(*models: str, ropes: tuple[str, ...] = ()) -> RunSpec:
    return RunSpec(models=models, tasks=("mini",), ropes=ropes)


def test_every_model_meets_every_variant() -> None:
    systems = spec("a", "b", ropes=("mrope", "vanilla")).systems()
    assert systems == [SystemSpec(model, rope) for model in "ab" for rope in ("mrope", "vanilla")]


def test_a_pair_keeps_its_own_variant() -> None:
    systems = spec("mrope=/c/a", "mrope-i=/c/b", "/c/c", ropes=("vanilla",)).systems()
    assert systems == [
        SystemSpec("/c/a", "mrope"),
        SystemSpec("/c/b", "mrope-i"),
        SystemSpec("/c/c", "vanilla"),
    ]


def test_without_a_variant_the_checkpoint_decides() -> None:
    assert spec("tiny").systems() == [SystemSpec("tiny", "auto")]


def test_a_variant_that_applies_to_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to apply to"):
        spec("mrope=/c/a", ropes=("vanilla",)).systems()


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("mrope=/c/a", ("mrope", "/c/a")),
        ("mrope-i(spatial_reset=false)=/c/a=b", ("mrope-i(spatial_reset=false)", "/c/a=b")),
        ("Qwen/Qwen2.5-VL-7B-Instruct", (None, "Qwen/Qwen2.5-VL-7B-Instruct")),
        ("./dir/x=1", (None, "./dir/x=1")),
        ("mock:fixed=B", (None, "mock:fixed=B")),
    ],
)
def test_pairs(text: str, pair: tuple[str | None, str]) -> None:
    assert split_model_option(text) == pair


def test_comma_lists_respect_parentheses() -> None:
    assert split_list(["mrope-i(spatial_reset=false,temporal_stride=2),vanilla", "mrope"]) == (
        "mrope-i(spatial_reset=false,temporal_stride=2)",
        "vanilla",
        "mrope",
    )


def test_the_same_order_gives_the_same_folder_and_another_one_another() -> None:
    assert spec("tiny").run_path() == spec("tiny").run_path()
    assert spec("tiny").run_path() != spec("tiny", ropes=("mrope",)).run_path()


def test_config_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: [tiny, mrope=/c/a]\nrope: vanilla,mrope\ntasks: mini\nbatch-tokens: 512\n")
    assert load_config(path) == {
        "models": ("tiny", "mrope=/c/a"),
        "ropes": ("vanilla", "mrope"),
        "tasks": ("mini",),
        "batch_tokens": 512,
    }


@pytest.mark.parametrize("text", ["- a\n", "limit: many\n", "modle: tiny\n", "a: [\n"])
def test_a_wrong_config_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"run\.yaml"):
        load_config(path)


def test_an_automatic_budget_beats_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: tiny\ntasks: mini\nbatch_tokens: 512\n")
    assert read_spec(path, {"batch_tokens": "auto"}).batch_tokens is None
    assert read_spec(path, {"batch_tokens": None}).batch_tokens == 512
    path.write_text("model: tiny\ntasks: mini\nbatch_tokens: auto\n")
    assert read_spec(path, {}).batch_tokens is None


@pytest.mark.parametrize("value", ["1", "'yes'", "[true]"])
def test_a_switch_is_true_or_false(value: str, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(f"mc_logits: {value}\n")
    with pytest.raises(UsageError, match="true or false"):
        load_config(config)
