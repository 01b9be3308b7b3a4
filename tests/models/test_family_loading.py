"""Checkpoint folders of every family: loaded, run through the CLI, saved with a variant and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from family_checkpoints import WHOLE, save_settings, save_tokenizer
from tiny_families import CANVASES, TILE, TINY

from evalkit.cli import run_cli
from evalkit.core.errors import UsageError
from evalkit.models import FAMILIES, load_model
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant

FAMILIES_HERE = tuple(name for name in TINY if name != "qwen2_5_vl")  # that one: test_loading.py


def save(folder: Path, name: str, rope: str | None = None) -> Path:
    """A complete checkpoint: weights, configuration, tokenizer, chat template, processor settings."""
    folder.mkdir()
    model = TINY[name].model()
    if rope:
        install(model, parse_variant(rope))
    model.save_pretrained(folder)
    save_tokenizer(folder, name)
    save_settings(folder, name)
    for file in ("preprocessor_config.json", "video_preprocessor_config.json"):
        settings: dict[str, Any] = json.loads((folder / file).read_text())
        if name in ("qwen2_vl", "qwen3_vl"):
            settings |= {"patch_size": 14, "size": {"shortest_edge": 3136, "longest_edge": 64 * 784}}
            settings = {key: value for key, value in settings.items() if not key.endswith("_pixels")}
        elif name == "llava_onevision":
            settings |= {"size": {"height": TILE, "width": TILE}, "image_grid_pinpoints": CANVASES}
        else:
            settings |= {"size": {"height": 56, "width": 56}, "max_patches": 4}
        (folder / file).write_text(json.dumps(settings))
    tokens = {"llava_onevision": {"num_image_tokens": 9}, "internvl": {"image_seq_length": 4}}.get(name)
    if tokens:
        (folder / "processor_config.json").write_text(json.dumps(WHOLE[name] | tokens))
    return folder


@pytest.mark.parametrize("name", FAMILIES_HERE)
def test_a_checkpoint_is_run_with_several_variants(name: str, tmp_path: Path, capsys: Any) -> None:
    folder = save(tmp_path / "checkpoint", name)
    words = ["run", "--model", str(folder), "--rope", "auto,mrope-i,mhrope,circlerope(age=odd)"]
    words += ["--tasks", "mini_chartqa,mini_refcoco,mini_video", "--limit", "2", "--workers", "0"]
    words += ["--rate-limit", "unparsed=1,truncated=1,repeating=1"]  # its weights are random
    assert run_cli([*words, "--output", str(tmp_path / "run"), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    for variant in (FAMILIES[name].native_rope, "mhrope"):
        assert variant in printed


@pytest.mark.parametrize("name", FAMILIES_HERE)
def test_the_variant_is_kept_in_the_config(name: str, tmp_path: Path) -> None:
    wanted = "mrope-i(temporal_stride=2,scaling=yarn(8))"
    folder = save(tmp_path / "checkpoint", name, wanted)
    assert json.loads((folder / "config.json").read_text())["rope_variant"] == wanted
    model = load_model(str(folder), rope="auto")
    assert str(model.info.variant) == wanted
    assert model.info.family == name
    again = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    assert again.config.rope_variant == wanted


def test_a_template_of_another_family_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "checkpoint", "llava_onevision")
    save_tokenizer(folder, "qwen2_vl")
    with pytest.raises(Exception, match="chat template") as caught:
        load_model(str(folder))
    assert "llava_onevision" in str(caught.value)


def test_mhrope_is_refused_on_two_key_value_heads(tmp_path: Path) -> None:
    folder = save(tmp_path / "checkpoint", "qwen2_vl")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_key_value_heads"] = 2
    torch_model = transformers.Qwen2VLForConditionalGeneration(transformers.Qwen2VLConfig(**config))
    torch_model.save_pretrained(folder)
    with pytest.raises(UsageError, match="2 key-value heads"):
        load_model(str(folder), rope="mhrope")
