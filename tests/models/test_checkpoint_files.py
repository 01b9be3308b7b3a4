"""Which files of a folder are loaded: those that are hashed. A folder that leaves room for doubt is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_qwen import make_model, save_checkpoint

from evalkit.cli import run_cli
from evalkit.core.errors import EnvironmentProblem, ExitCode
from evalkit.models import load_model
from evalkit.models.checkpoints.files import INDEX, SINGLE_WEIGHTS, checkpoint_files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("made") / "ckpt")


@pytest.fixture
def checkpoint(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "ckpt"))


@pytest.fixture
def sharded(checkpoint: Path) -> Path:
    make_model().save_pretrained(checkpoint, max_shard_size="200KB")
    (checkpoint / SINGLE_WEIGHTS).unlink(missing_ok=True)
    return checkpoint


def refused(folder: Path) -> EnvironmentProblem:
    with pytest.raises(EnvironmentProblem) as caught:
        load_model(str(folder), device="cpu")
    assert str(folder) in caught.value.what
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    return caught.value


def with_key(path: Path, **tensors: torch.Tensor) -> None:
    save_file(
        load_file(path) | {name.replace("__", "."): each for name, each in tensors.items()},
        path,
        {"format": "pt"},
    )


def test_transformers_opens_the_files_that_are_hashed(
    made: Path, sharded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import modeling_utils

    opened: list[str] = []
    real = modeling_utils.safe_open

    def noted(path: str, *words: Any, **options: Any) -> Any:
        opened.append(str(path))
        return real(path, *words, **options)

    monkeypatch.setattr(modeling_utils, "safe_open", noted)
    for folder in (made, sharded):
        opened.clear()
        load_model(str(folder), device="cpu")
        assert set(opened) == {str(path) for path in checkpoint_files(folder).weights}
    assert len(opened) > 1


def test_an_index_beside_whole_weights(sharded: Path, made: Path) -> None:
    """`from_pretrained` takes model.safetensors; the index was hashed."""
    shutil.copy(made / SINGLE_WEIGHTS, sharded)
    assert "ambiguous" in refused(sharded).what
    words = ["run", "--model", str(sharded), "--tasks", "mini_chartqa", "--limit", "1", "--output", "unused"]
    assert run_cli(words) == ExitCode.ENVIRONMENT


def test_an_index_of_one_whole_file_is_clear(checkpoint: Path) -> None:
    names = load_file(checkpoint / SINGLE_WEIGHTS)
    (checkpoint / INDEX).write_text(
        json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, SINGLE_WEIGHTS)})
    )
    load_model(str(checkpoint), device="cpu")


AMBIGUOUS: dict[str, Callable[[Path], Any]] = {
    "a shard of another save": lambda f: shutil.copy(
        f / json.loads((f / INDEX).read_text())["weight_map"]["lm_head.weight"],
        f / "model-00099-of-00100.safetensors",
    ),
    "no index": lambda f: (f / INDEX).unlink(),
    "other weights": lambda f: save_file({"a": torch.ones(1)}, f / "vit.safetensors"),
    "transformers' own distributed form, which it would take first": lambda f: save_file(
        {"a": torch.ones(1)}, f / "shard-00001-model-00001-of-00001.safetensors"
    ),
    "a name in the configuration": lambda f: (f / "config.json").write_text(
        json.dumps(json.loads((f / "config.json").read_text()) | {"transformers_weights": "x.safetensors"})
    ),
    "a tensor twice": lambda f: [
        with_key(path, lm_head__weight=torch.ones(272, 128)) for path in f.glob("model-*")
    ],
    "a path out of the folder": lambda f: (f / INDEX).write_text(
        json.dumps({"weight_map": {"a": "../other/model.safetensors"}})
    ),
    "an index of nothing": lambda f: (f / INDEX).write_text('{"weight_map": {}}'),
    "an index that is none": lambda f: (f / INDEX).write_text("[]"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_is_not_clear_is_refused(name: str, sharded: Path) -> None:
    AMBIGUOUS[name](sharded)
    if name == "an index that is none":
        with pytest.raises(EnvironmentProblem, match="index"):
            load_model(str(sharded), device="cpu")
    else:
        error = refused(sharded)
        assert (
            "missing"
            if name == "no index"
            else "damaged"
            if "path" in name or "nothing" in name
            else "ambiguous"
        ) in error.what


def test_pickled_weights_beside_are_not_read(checkpoint: Path) -> None:
    first = load_model(str(checkpoint), device="cpu")
    (checkpoint / "pytorch_model.bin").write_bytes(b"never opened")
    assert load_model(str(checkpoint), device="cpu").info.fingerprint == first.info.fingerprint


def test_weights_that_the_model_does_not_take(checkpoint: Path) -> None:
    with_key(
        checkpoint / SINGLE_WEIGHTS,
        model__layers__0__self_attn__gate__weight=torch.ones(2),
        more__x=torch.ones(1),
    )
    why = refused(checkpoint).why
    assert "does not take 2 of its weights" in why
    assert "self_attn.gate.weight" in why


def test_weights_of_another_shape(checkpoint: Path) -> None:
    with_key(checkpoint / SINGLE_WEIGHTS, lm_head__weight=torch.ones(270, 128))
    assert "lm_head.weight is [270, 128] instead of [272, 128]" in refused(checkpoint).why


def test_buffers_that_transformers_leaves_out_knowingly(checkpoint: Path) -> None:
    """Checkpoints of before 2023 have the rotary frequencies of every layer in them."""
    with_key(checkpoint / SINGLE_WEIGHTS, model__layers__0__self_attn__rotary_emb__inv_freq=torch.ones(16))
    load_model(str(checkpoint), device="cpu")


@pytest.mark.parametrize("name", ["lm_head.weight", None])
def test_tied_weights_may_be_there_or_not(name: str | None, tmp_path: Path) -> None:
    model = make_model()
    model.config.tie_word_embeddings = True
    model.tie_weights()
    folder = save_checkpoint(tmp_path / "tied", model)
    if name:
        weights = load_file(folder / SINGLE_WEIGHTS)
        save_file(
            weights | {name: weights["model.embed_tokens.weight"].clone()},
            folder / SINGLE_WEIGHTS,
            {"format": "pt"},
        )
    loaded: Any = load_model(str(folder), device="cpu")
    module = loaded.module
    assert module.lm_head.weight is module.get_input_embeddings().weight


def test_a_tokenizer_with_more_tokens_than_embeddings(checkpoint: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.add_tokens([f"<new{number}>" for number in range(40)])
    tokenizer.save_pretrained(checkpoint)
    assert "272 embeddings" in refused(checkpoint).why
