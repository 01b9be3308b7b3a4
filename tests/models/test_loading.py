"""From a name to a model that answers, and one clear message for everything that can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_qwen import EOS, IMAGE_PAD, PAD, VIDEO_PAD, make_model, save_checkpoint

from evalkit.core.errors import EnvironmentProblem, EvalkitError, ExitCode, UsageError
from evalkit.core.types import Locate, MediaRef, Request, Text
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.models import FAMILIES, load_model
from evalkit.models.base import Model
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "ckpt")


def load(folder: Path, **options: str) -> Any:
    return load_model(str(folder), device="cpu", **options)


def test_a_checkpoint_answers_about_a_picture(checkpoint: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(picture)
    model: Model = load(checkpoint)
    ref = MediaRef("image", path=str(picture))
    prompt = model.info.render([ref, Text("What is it?")])
    assert prompt == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What is it?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    prepared = model.info.preprocessor.prepare(
        Request(key="k", task="t", sample_id="s", prompt=prompt, media=(ref,), max_new_tokens=5)
    )
    ((_, found),) = generate_all(model.decoder(), [PrefixGroup((prepared,), prepared.prefix)])
    assert len(found.token_ids) <= 5
    assert isinstance(found.text, str)
    assert (model.info.family, model.info.box_space, str(model.info.variant)) == (
        "qwen2_5_vl",
        "abs_resized",
        "mrope",
    )


def test_rules_come_from_the_checkpoint(checkpoint: Path) -> None:
    generation_tokens = load(checkpoint).info.generation_tokens
    assert generation_tokens.stop_token_ids == {
        EOS,
        PAD,
    }  # both end tokens of generation_config, and the end of a turn
    assert generation_tokens.banned_token_ids == (
        IMAGE_PAD,
        VIDEO_PAD,
    )  # padding is an end token here, as in Qwen


def test_rendering(checkpoint: Path) -> None:
    model = load(checkpoint)
    shown = model.info.render([MediaRef("image", path="a"), MediaRef("video", path="b"), Locate("the dog")])
    assert shown.count("<|image_pad|>") == shown.count("<|video_pad|>") == 1
    assert "Locate the dog in this image and output the bbox coordinates in JSON format." in shown
    # A question that quotes a special token stays text.
    assert model.info.render([Text("what is <|image_pad|>?")]).count("<|image_pad|>") == 0


def test_the_variant_is_the_one_asked_for_else_the_trained_one_else_the_native_one(tmp_path: Path) -> None:
    model = make_model()
    install(model, parse_variant("mrope-i(spatial_reset=false)"))
    trained = save_checkpoint(tmp_path / "trained", model)
    assert str(load(trained).info.variant) == "mrope-i(spatial_reset=false)"
    assert str(load(trained, rope="mhrope").info.variant) == "mhrope"
    native = save_checkpoint(tmp_path / "native")
    assert str(load(native).info.variant) == FAMILIES["qwen2_5_vl"].native_rope == "mrope"


def test_dtype_and_fingerprint(checkpoint: Path) -> None:
    model, half = load(checkpoint), load(checkpoint, dtype="bfloat16")
    assert (model.module.dtype, half.module.dtype) == (torch.float32, torch.bfloat16)
    assert half.module.model.language_model.rotary_emb.inv_freq.dtype == torch.float32
    assert (
        model.info.fingerprint == load(checkpoint, rope="vanilla").info.fingerprint != half.info.fingerprint
    )
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "note": 1}))
    assert load(checkpoint).info.fingerprint != model.info.fingerprint


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_sharded_checkpoints(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "whole")
    make_model().save_pretrained(folder, max_shard_size="200KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    load(folder)
    shards[1].unlink()
    with pytest.raises(EnvironmentProblem, match=shards[1].name):
        load(folder)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: shorten(f / "model.safetensors"), r"model\.safetensors` is damaged"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x"), "damaged"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x04" + b"\0" * 7 + b"abcd"), "damaged"),
        (lambda f: (f / "model.safetensors").unlink(), "weights of .* are missing"),
        (lambda f: (f / "config.json").unlink(), "not a model folder"),
        (lambda f: (f / "config.json").write_text("{"), "can't be read"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer"),
        (lambda f: (f / "tokenizer_config.json").write_text("{}"), "no chat template"),
        (lambda f: (f / "preprocessor_config.json").unlink(), "preprocessor_config.json"),
    ],
)
def test_a_damaged_checkpoint_is_named(damage: Any, said: str, checkpoint: Path) -> None:
    damage(checkpoint)
    with pytest.raises(EnvironmentProblem, match=said) as caught:
        load(checkpoint)
    assert str(checkpoint) in str(caught.value)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_a_checkpoint_of_another_size_is_refused(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 3
    config["text_config"].pop("layer_types", None)
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(EnvironmentProblem, match="lacks"):
        load(checkpoint)


def test_a_foreign_chat_template_is_refused(checkpoint: Path) -> None:
    settings = json.loads((checkpoint / "tokenizer_config.json").read_text())
    settings["chat_template"] = "{% for m in messages %}{{ m.role }}{% endfor %}"
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(EnvironmentProblem, match="chat template"):
        load(checkpoint)


def test_a_misspelt_path_names_its_neighbour(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean `ckpt`") as caught:
        load(checkpoint.with_name("ckpy"))
    assert caught.value.exit_code == ExitCode.USAGE
    with pytest.raises(UsageError, match="Did you mean `tiny`"):
        load_model("tinny")
    with pytest.raises(UsageError, match="is a file"):
        load(checkpoint / "config.json")


def test_a_hub_id_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(EnvironmentProblem, match="can't be reached"):
        load_model("Qwen/Qwen2.5-VL-3B-Instruct")


def test_other_families_are_refused(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    with pytest.raises(UsageError, match="`llama`"):
        load(checkpoint)


@pytest.mark.parametrize(
    ("options", "said", "kind"),
    [
        ({"rope": "mrope-j"}, "Did you mean `mrope-i`", UsageError),
        ({"rope": "mhrope(allocation=[4,4,4])"}, "key-value heads", UsageError),
        ({"dtype": "float31"}, "float31", UsageError),
    ],
)
def test_wrong_options(
    options: dict[str, str], said: str, kind: type[EvalkitError], checkpoint: Path
) -> None:
    with pytest.raises(kind, match=said):
        load(checkpoint, **options)


def test_wrong_devices(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="gpu"):
        load_model(str(checkpoint), device="gpu")
    with pytest.raises(EnvironmentProblem, match="CUDA devices"):
        load_model(str(checkpoint), device=f"cuda:{torch.cuda.device_count()}")


def test_mhrope_on_too_few_heads_says_why(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "few", make_model(kv_heads=2))
    with pytest.raises(UsageError, match="2 key-value heads"):
        load(folder, rope="mhrope")


def test_every_native_variant_exists() -> None:
    for family in FAMILIES.values():
        assert str(parse_variant(family.native_rope)) == family.native_rope


def test_a_sliding_window_is_refused(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["text_config"] |= {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}
    config["text_config"].pop("layer_types", None)
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="sliding window"):
        load(checkpoint)


def test_it_answers_in_bfloat16(checkpoint: Path) -> None:
    model = load(checkpoint, dtype="bfloat16")
    prepared = model.info.preprocessor.prepare(
        Request(
            key="k",
            task="t",
            sample_id="s",
            prompt=model.info.render([Text("Why?")]),
            media=(),
            max_new_tokens=5,
        )
    )
    ((_, found),) = generate_all(model.decoder(), [PrefixGroup((prepared,), 0)])
    assert 0 <= found.margin < float("inf")
