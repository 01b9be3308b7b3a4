"""Adapters: peft saves them, evalkit merges them, and the logits are those of peft's own model."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_family_loading import save
from tiny_qwen import make_model, save_checkpoint

from evalkit.cli import run_cli
from evalkit.core.errors import EvalkitError, ExitCode, UsageError
from evalkit.models import describe_model, load_model
from evalkit.models.base import LoadConfig
from evalkit.models.checkpoints import peft_adapters
from evalkit.models.checkpoints.source import short_name

peft = pytest.importorskip("peft", reason="the package peft is not installed")

CPU = LoadConfig(device="cpu")
LAYERS = ["q_proj", "v_proj"]
KINDS: dict[str, Any] = {
    "lora": lambda: peft.LoraConfig(r=4, target_modules=LAYERS),
    "all layers": lambda: peft.LoraConfig(r=4, target_modules="all-linear"),
    "vision": lambda: peft.LoraConfig(r=4, target_modules=r".*visual.*(qkv|proj|merger\.mlp\.0)"),
    "rslora": lambda: peft.LoraConfig(r=4, target_modules=LAYERS, use_rslora=True),
    "dora": lambda: peft.LoraConfig(r=4, target_modules=LAYERS, use_dora=True),
    "modules_to_save": lambda: peft.LoraConfig(
        r=4, target_modules=LAYERS, modules_to_save=["lm_head", "embed_tokens"]
    ),
    "merger saved": lambda: peft.LoraConfig(r=4, target_modules=LAYERS, modules_to_save=["merger"]),
    "embeddings": lambda: peft.LoraConfig(r=4, target_modules=["embed_tokens"]),
    "head": lambda: peft.LoraConfig(r=4, target_modules=["lm_head"]),
    "tokens": lambda: peft.LoraConfig(r=4, target_modules=LAYERS, trainable_token_indices=[3, 5]),
    "bias": lambda: peft.LoraConfig(r=4, target_modules=LAYERS, bias="all"),
    "ia3": lambda: peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "loha": lambda: peft.LoHaConfig(r=4, target_modules=LAYERS),
    "norms": lambda: peft.LNTuningConfig(target_modules=["input_layernorm"]),
}


def tied(folder: Path) -> Path:
    model = make_model()
    model.config.tie_word_embeddings = True
    model.tie_weights()
    return save_checkpoint(folder, model)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {"plain": save_checkpoint(root / "plain"), "tied": tied(root / "tied")}


def read(base: Path) -> Any:
    classes = transformers.AutoModelForImageTextToText
    return classes.from_pretrained(base, attn_implementation="sdpa").eval()


def train(base: Path, folder: Path, config: Any, rows: int | None = None, **options: Any) -> Any:
    """An adapter as if trained, saved by peft; returns peft's model."""
    model = read(base)
    if rows:
        model.resize_token_embeddings(rows)
    model = peft.get_peft_model(model, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.eval().save_pretrained(folder, **options)
    return model


IDS = torch.arange(24)[None]


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(input_ids=IDS).logits


@torch.no_grad()
def features(model: Any) -> torch.Tensor:
    torch.manual_seed(0)
    return model.get_image_features(torch.randn(24, 1176), torch.tensor([[1, 4, 6]])).pooler_output[0]


def module_of(name: str, **options: Any) -> Any:
    model: Any = describe_model(name, load_config=LoadConfig(device="cpu", **options)).load()
    return model.module


@pytest.mark.parametrize("base", ["plain", "tied"])
@pytest.mark.parametrize("kind", KINDS)
def test_merged_is_what_peft_computes(
    kind: str, base: str, bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    theirs = train(bases[base], tmp_path / "adapter", KINDS[kind]())
    ours, plain = module_of(str(tmp_path / "adapter")), read(bases[base])
    torch.testing.assert_close(logits(ours), logits(theirs), atol=1e-4, rtol=1e-4)
    seen = features(theirs.base_model.model.model)
    torch.testing.assert_close(features(ours.model), seen, atol=1e-4, rtol=1e-4)
    changed = (logits(ours) - logits(plain)).abs().max() + (
        features(ours.model) - features(plain.model)
    ).abs().max()
    assert changed > 0.1
    assert set(ours.state_dict()) == set(plain.state_dict())


def test_in_bfloat16_it_is_rounded_once(bases: dict[str, Path], tmp_path: Path) -> None:
    theirs = train(bases["plain"], tmp_path / "adapter", KINDS["lora"]())
    exact = theirs.merge_and_unload().state_dict()
    half = module_of(str(tmp_path / "adapter"), dtype="bfloat16").state_dict()
    for name, weight in half.items():
        assert weight.dtype == torch.bfloat16
        torch.testing.assert_close(weight.float(), exact[name], atol=1e-3, rtol=2**-6)


def test_spread_over_devices(bases: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="the package accelerate is not installed")
    theirs = train(bases["plain"], tmp_path / "adapter", KINDS["all layers"]())
    ours = module_of(str(tmp_path / "adapter"), device_map="auto")
    torch.testing.assert_close(logits(ours), logits(theirs), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl", "llava_onevision", "internvl"])
def test_adapters_of_every_family(family: str, tmp_path: Path) -> None:
    base = save(tmp_path / "base", family)
    theirs = train(base, tmp_path / "adapter", KINDS["all layers"]())
    ours = module_of(str(tmp_path / "adapter"))
    torch.testing.assert_close(logits(ours), logits(theirs), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("base", ["plain", "tied"])
@pytest.mark.parametrize("kind", ["lora", "modules_to_save"])
def test_resized_embeddings(kind: str, base: str, bases: dict[str, Path], tmp_path: Path) -> None:
    """New tokens were trained; peft saves the embeddings, the trainer its tokenizer."""
    options = {"save_embedding_layers": True} if kind == "lora" else {}
    theirs = train(bases[base], tmp_path / "adapter", KINDS[kind](), rows=300, **options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(bases[base])
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(tmp_path / "adapter")
    torch.testing.assert_close(
        logits(module_of(str(tmp_path / "adapter"))), logits(theirs), atol=1e-4, rtol=1e-4
    )


# How parts were called before transformers 4.52: its `_checkpoint_conversion_mapping`, backwards.
OLD = {
    "qwen2_vl": {"model.language_model.": "model.", "model.visual.": "visual."},
    "llava_onevision": {
        "model.language_model.": "language_model.model.",
        "model.vision_tower.": "vision_tower.",
    },
    "internvl": {"model.language_model.": "language_model.model.", "model.vision_tower.": "vision_tower."},
}


@pytest.mark.parametrize("family", OLD)
def test_adapters_of_earlier_versions_of_transformers(family: str, tmp_path: Path) -> None:
    base = save(tmp_path / "base", family)
    parts = r".*(q_proj|v_proj|qkv|lm_head)"
    theirs = train(base, tmp_path / "adapter", peft.LoraConfig(r=4, target_modules=parts))
    path, prefix = tmp_path / "adapter/adapter_model.safetensors", "base_model.model."
    weights = load_file(path)
    for new, old in OLD[family].items():
        assert any(name.startswith(prefix + new) for name in weights)
        weights = {name.replace(prefix + new, prefix + old): each for name, each in weights.items()}
    if family != "qwen2_vl":
        weights = {
            name.replace(prefix + "lm_head", prefix + "language_model.lm_head"): w
            for name, w in weights.items()
        }
    save_file(weights, path, {"format": "pt"})
    ours = module_of(str(tmp_path / "adapter"))
    torch.testing.assert_close(logits(ours), logits(theirs), atol=1e-3, rtol=1e-3)
    theirs.merge_and_unload()
    for name, weight in theirs.base_model.model.model.named_parameters():
        if ".vis" not in f".{name}":
            continue  # of tied weights peft itself changes both
        torch.testing.assert_close(ours.model.get_parameter(name), weight, atol=1e-5, rtol=1e-5)


def test_an_adapter_of_transformers_own(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`model.add_adapter(...)` and `save_pretrained`; it names no base."""
    # transformers 5.24 asks for a peft that has not been released; what it does with 0.21 is the same.
    monkeypatch.setattr("transformers.integrations.peft.check_peft_version", lambda min_version: None)
    model = read(bases["plain"])
    torch.manual_seed(0)
    model.add_adapter(peft.LoraConfig(r=4, target_modules=LAYERS, init_lora_weights=False))
    model.eval().save_pretrained(tmp_path / "adapter")
    ours = module_of(f"{bases['plain']}+{tmp_path / 'adapter'}")
    torch.testing.assert_close(logits(ours), logits(model), atol=1e-4, rtol=1e-4)


def test_base_and_adapter_are_both_hashed_and_said(bases: dict[str, Path], tmp_path: Path) -> None:
    base = Path(shutil.copytree(bases["plain"], tmp_path / "base"))
    train(base, tmp_path / "one", KINDS["lora"]())
    one = describe_model(str(tmp_path / "one"), load_config=CPU)
    assert one.identity["peft"] == peft.__version__
    assert one.notes == (f"the adapter `one` is merged into `{base}`",)
    read_of = {path.name for path in one.files if path.parent.name == "one"}
    assert read_of == {"adapter_config.json", "adapter_model.safetensors"}
    pair = describe_model(f"{base}+{tmp_path / 'one'}", load_config=CPU)
    assert pair.fingerprint == one.fingerprint
    assert describe_model(str(base), load_config=CPU).fingerprint != one.fingerprint
    weights = load_file(tmp_path / "one/adapter_model.safetensors")
    next(iter(weights.values())).add_(1)
    save_file(weights, tmp_path / "one/adapter_model.safetensors", {"format": "pt"})
    assert changed(one, describe_model(str(tmp_path / "one"), load_config=CPU)) == {"adapter"}
    whole = load_file(base / "model.safetensors")
    whole["model.norm.weight"][0] += 1
    save_file(whole, base / "model.safetensors", {"format": "pt"})
    assert changed(one, describe_model(str(tmp_path / "one"), load_config=CPU)) == {"adapter", "weights"}


def changed(one: Any, other: Any) -> set[str]:
    return {name for name in one.identity if one.identity[name] != other.identity[name]}


def test_two_adapters_run_side_by_side(bases: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    for name in ("one", "two"):
        train(bases["plain"], tmp_path / name, KINDS["lora"]())
    words = ["run", "--tasks", "mini_chartqa", "--limit", "2", "--workers", "0", "--device", "cpu"]
    for name in (str(tmp_path / "one"), f"{bases['plain']}+{tmp_path / 'two'}"):
        words += ["--model", f"mrope={name}"]
    run_cli([*words, "--output", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "one@mrope" in printed
    assert "plain+two@mrope" in printed


@pytest.mark.parametrize("way", ["relative to here", "relative to the adapter", "pair", "plus in the name"])
def test_where_the_base_is_found(
    way: str, bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Path(shutil.copytree(bases["plain"], tmp_path / "models+more/base"))
    adapter = tmp_path / ("a+b" if way == "plus in the name" else "adapter")
    train(base, adapter, KINDS["lora"]())
    name = str(adapter)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    if way == "relative to here":
        monkeypatch.chdir(tmp_path)
        settings["base_model_name_or_path"] = "models+more/base"
    elif way == "relative to the adapter":
        settings["base_model_name_or_path"] = "../models+more/base"
    else:
        settings["base_model_name_or_path"] = "/nowhere/base" if way == "pair" else str(base)
        name = f"{base}+{adapter}" if way == "pair" else name
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    assert (
        describe_model(name, load_config=CPU).notes[0].startswith(f"the adapter `{adapter.name}` is merged")
    )
    assert short_name(name) == ("base+adapter" if way == "pair" else adapter.name)


def adapter_of(bases: dict[str, Path], folder: Path, kind: str = "lora") -> Path:
    train(bases["plain"], folder, KINDS[kind]())
    return folder


def edited(adapter: Path, **settings: Any) -> Path:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return adapter


def refused(name: Path | str, said: str) -> EvalkitError:
    with pytest.raises(EvalkitError, match=said) as caught:
        load_model(str(name), device="cpu")
    return caught.value


def test_a_base_that_is_not_there(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = adapter_of(bases, tmp_path / "adapter")
    error = refused(edited(adapter, base_model_name_or_path="/gone/base"), "no such folder")
    assert "/gone/base" in error.what
    assert f"BASE+{adapter}" in error.fix
    assert error.exit_code == ExitCode.USAGE
    refused(edited(adapter, base_model_name_or_path=None), "doesn't name its base model")


def test_a_base_that_may_be_two(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = edited(adapter_of(bases, tmp_path / "adapter"), base_model_name_or_path="base")
    for folder in (tmp_path / "base", adapter / "base"):
        shutil.copytree(bases["plain"], folder)
    monkeypatch.chdir(tmp_path)
    refused("adapter", "is ambiguous")


def test_an_adapter_on_an_adapter(bases: dict[str, Path], tmp_path: Path) -> None:
    first = adapter_of(bases, tmp_path / "first")
    refused(
        edited(adapter_of(bases, tmp_path / "second"), base_model_name_or_path=str(first)),
        "itself an adapter",
    )
    refused(f"{bases['plain']}+{bases['tied']}", "is no adapter")


def test_an_adapter_beside_whole_weights(bases: dict[str, Path], tmp_path: Path) -> None:
    """What transformers loads then depends on whether peft happens to be installed."""
    adapter = adapter_of(bases, tmp_path / "adapter")
    folder = Path(shutil.copytree(bases["plain"], tmp_path / "both"))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(adapter / name, folder)
        assert refused(folder, "ambiguous").exit_code == ExitCode.ENVIRONMENT
    (folder / "adapter_config.json").unlink()
    refused(folder, "beside the weights of a whole model")


def test_adapter_tensors_left_in_the_weights(bases: dict[str, Path], tmp_path: Path) -> None:
    """Saved as transformers' model, with peft's layers still in it: transformers leaves them out."""
    model = peft.get_peft_model(read(bases["plain"]), KINDS["modules_to_save"]()).base_model.model
    folder = Path(shutil.copytree(bases["plain"], tmp_path / "left"))
    save_file(
        {name: each.clone() for name, each in model.state_dict().items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    refused(folder, "an adapter's tensors in them")
    weights = load_file(bases["plain"] / "model.safetensors")
    extra = {"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 128)}
    save_file(weights | extra, folder / "model.safetensors", {"format": "pt"})
    refused(folder, "1 of .*lora_A")


def test_without_peft(bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = adapter_of(bases, tmp_path / "adapter")
    real = importlib.util.find_spec
    monkeypatch.setattr(peft_adapters, "find_spec", lambda name: None if name == "peft" else real(name))
    error = refused(adapter, "it is not installed")
    assert (error.exit_code, error.fix) == (ExitCode.ENVIRONMENT, "pip install 'evalkit[peft]'")


@pytest.mark.parametrize(
    "config",
    [
        lambda: peft.PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
        lambda: peft.PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
    ],
)
def test_what_can_not_be_merged(config: Any, bases: dict[str, Path], tmp_path: Path) -> None:
    shape = {"num_layers": 2, "token_dim": 128, "num_attention_heads": 4, "num_transformer_submodules": 1}
    settings = config()
    for name, value in shape.items():
        setattr(settings, name, value)
    peft.get_peft_model(read(bases["plain"]), settings).save_pretrained(tmp_path / "adapter")
    refused(f"{bases['plain']}+{tmp_path / 'adapter'}", "can't be merged")


def rename(weights: dict[str, Any], name: str) -> dict[str, Any]:
    return {key.replace("self_attn", name): value for key, value in weights.items()}


DAMAGE: dict[str, tuple[Any, str]] = {
    "fewer tensors": (lambda w: dict(list(w.items())[1:]), "lacks 1 tensors"),
    "more tensors": (lambda w: w | {"base_model.model.x.lora_A.weight": torch.ones(4, 4)}, "no place for 1"),
    "names of another model": (lambda w: rename(w, "attn"), "no place for"),
    "not numbers": (lambda w: {key: value * float("nan") for key, value in w.items()}, "can't be used"),
    "another size": (
        lambda w: {key: value[:, :-1].contiguous() for key, value in w.items()},
        "can't be used",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_an_adapter_that_does_not_fit(name: str, bases: dict[str, Path], tmp_path: Path) -> None:
    damage, said = DAMAGE[name]
    adapter = adapter_of(bases, tmp_path / "adapter")
    path = adapter / "adapter_model.safetensors"
    save_file(damage(load_file(path)), path, {"format": "pt"})
    refused(adapter, said)


def test_modules_that_were_to_be_saved_and_are_not_there(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = adapter_of(bases, tmp_path / "adapter", "merger saved")
    path = adapter / "adapter_model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if "merger" not in k}, path, {"format": "pt"})
    refused(adapter, "lacks")


def test_settings_of_a_later_peft(bases: dict[str, Path], tmp_path: Path) -> None:
    """peft itself goes on without them, and warns."""
    refused(
        edited(adapter_of(bases, tmp_path / "a"), use_new_scaling=True),
        "doesn't know its setting `use_new_scaling`",
    )
    refused(edited(adapter_of(bases, tmp_path / "b"), peft_type="NEW"), "can't be used")


@pytest.mark.parametrize("name", ["non_lora_trainables.bin", "vit.safetensors", "non_lora_state_dict.bin"])
def test_weights_trained_beside_an_adapter(name: str, bases: dict[str, Path], tmp_path: Path) -> None:
    """LLaVA's and Qwen-VL's training scripts save a trained projector so, ms-swift a trained tower."""
    adapter = adapter_of(bases, tmp_path / "adapter")
    for harmless in ("training_args.bin", "optimizer.pt", "README.md", "trainer_state.json"):
        (adapter / harmless).write_bytes(b"{}")
    load_model(str(adapter), device="cpu")
    (adapter / name).write_bytes(b"x")
    refused(adapter, name)


def test_pickled_adapters(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = adapter_of(bases, tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    refused(adapter, "safetensors only")


def test_the_tokenizer_is_the_adapters_own_if_it_has_one(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = adapter_of(bases, tmp_path / "adapter")
    base = describe_model(str(adapter), load_config=CPU)
    tokenizer = transformers.AutoTokenizer.from_pretrained(bases["plain"])
    tokenizer.chat_template = tokenizer.chat_template.replace("user", "human")
    tokenizer.chat_template = "{% set x = 1 %}" + tokenizer.chat_template
    tokenizer.save_pretrained(adapter)
    own = describe_model(str(adapter), load_config=CPU)
    assert {"tokenizer", "chat template"} <= changed(base, own)
    assert any(path.parent == adapter and path.name == "tokenizer.json" for path in own.files)
    (adapter / "tokenizer.json").unlink()
    refused(adapter, "files of two folders can't be mixed")


def test_processor_settings_beside_an_adapter(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = adapter_of(bases, tmp_path / "adapter")
    base = describe_model(str(adapter), load_config=CPU)
    transformers.Qwen2VLImageProcessor(
        size={"shortest_edge": 3136, "longest_edge": 32 * 784}
    ).save_pretrained(adapter)
    own = describe_model(str(adapter), load_config=CPU)
    assert changed(base, own) == {"processor", "preprocessing"}


def test_the_variant_that_an_adapter_was_trained_with(bases: dict[str, Path], tmp_path: Path) -> None:
    """Some trainers save the model's configuration beside the adapter."""
    adapter = adapter_of(bases, tmp_path / "adapter")
    config = transformers.AutoConfig.from_pretrained(bases["plain"])
    config.rope_variant = "mrope-i"
    config.save_pretrained(adapter)
    assert str(describe_model(str(adapter), load_config=CPU).variant) == "mrope-i"
    config.text_config.rms_norm_eps = 0.5
    config.save_pretrained(adapter)
    assert "rms_norm_eps" in refused(adapter, "was not trained on").why


def test_which_plus_is_meant(bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "a+b", "c", "b+c"):
        os.mkdir(name)
    with pytest.raises(UsageError, match="can be read in 2 ways"):
        describe_model("a+b+c")
    with pytest.raises(EvalkitError, match="not a model folder"):
        describe_model("a+b")  # a folder of this very name
    with pytest.raises(UsageError, match="not found"):
        describe_model("a+nowhere")
