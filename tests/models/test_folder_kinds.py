"""Every kind of checkpoint folder that users have: which are run as what they are, how others are refused."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import checkpoint_folders as checkpoint_folders
import pytest
import torch
import transformers
from checkpoint_folders import FAMILIES
from safetensors.torch import load_file, save_file

from evalkit.core.errors import EnvironmentProblem, EvalkitError, ExitCode
from evalkit.models import load_model
from evalkit.models.check import check_checkpoint
from evalkit.models.checkpoints.files import SINGLE_WEIGHTS
from evalkit.models.checkpoints.folder_kind import describe_folder
from evalkit.models.checkpoints.source import find

Maker = Callable[[Path, Path], Path]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder of each family in the hub's layout."""
    home = tmp_path_factory.mktemp("hub")

    def folder(family: str) -> Path:
        path = home / family
        return path if path.exists() else checkpoint_folders.hub_layout(path, family)

    return folder


@pytest.fixture(scope="module")
def saved(hub: Callable[[str], Path]) -> Callable[[str], dict[str, torch.Tensor]]:
    """The weights of each family as transformers reads them."""
    return cache(lambda family: parameters(checkpoint_folders.model_of(hub(family))))


RUN: dict[str, tuple[Maker, str, str]] = {
    "hub layout": (checkpoint_folders.copied, "hub layout", "weights in one file"),
    "saved by transformers 5": (
        checkpoint_folders.saved_by_5,
        "saved by transformers 5",
        "saved by transformers 5",
    ),
    "Trainer output": (
        checkpoint_folders.trained,
        "Trainer output",
        "from a training with transformers' Trainer",
    ),
    "shards": (checkpoint_folders.sharded, "saved by transformers 5", "files, as F32"),
    "bfloat16": (checkpoint_folders.in_bf16, "saved by transformers 5", "as BF16"),
    "names of the running model": (checkpoint_folders.names_of_the_running_model, "hub layout", "F32"),
    "older names": (checkpoint_folders.older_names, "hub layout", ""),
}


def parameters(module: Any) -> dict[str, torch.Tensor]:
    return {name: each.float() for name, each in module.state_dict().items()}


@pytest.mark.parametrize(
    ("kind", "family"),
    [(kind, family) for kind in RUN for family in FAMILIES if (kind, family) != ("older names", "qwen3_vl")],
)
def test_a_kind_that_is_run(
    kind: str,
    family: str,
    hub: Callable[[str], Path],
    saved: Callable[[str], dict[str, torch.Tensor]],
    tmp_path: Path,
) -> None:
    """Its weights are those that were saved, every one, and its kind is told."""
    make, name, said = RUN[kind]
    folder = make(hub(family), tmp_path / "ckpt")
    found = describe_folder(folder)
    assert (found.name, found.problem, found.missing, found.fix) == (name, "", (), "")
    assert said in found.sentence
    assert family in found.sentence
    loaded: Any = load_model(str(folder), device="cpu", dtype="float32")
    expected, own = saved(family), parameters(loaded.module)
    assert own.keys() == expected.keys()
    for each, tensor in expected.items():
        rounded = tensor.to(torch.bfloat16).float() if kind == "bfloat16" else tensor
        torch.testing.assert_close(own[each], rounded, rtol=0, atol=0, msg=each)
    assert check_checkpoint(str(folder)).passed


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_a_flat_configuration_of_transformers_4(
    family: str, hub: Callable[[str], Path], tmp_path: Path
) -> None:
    """The language model's settings at the top level: the same logits as from today's form."""
    folder = checkpoint_folders.flat_config(hub(family), tmp_path / "ckpt")
    assert "configured as before transformers 4.52" in describe_folder(folder).sentence
    loaded: Any = load_model(str(folder), device="cpu")
    model = checkpoint_folders.model_of(hub(family)).eval()
    ids = torch.arange(30)[None]
    with torch.no_grad():
        assert torch.equal(loaded.module(input_ids=ids).logits, model(input_ids=ids).logits)
    text = loaded.module.config.get_text_config()
    assert text.rope_parameters["mrope_section"] == model.config.text_config.rope_parameters["mrope_section"]
    assert text.num_attention_heads == model.config.text_config.num_attention_heads
    assert check_checkpoint(str(folder)).passed


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_a_tokenizer_of_vocabulary_and_merges_is_one(
    family: str, hub: Callable[[str], Path], tmp_path: Path
) -> None:
    """It makes the same token ids."""
    folder = checkpoint_folders.vocab_and_merges(hub(family), tmp_path / "ckpt")
    assert describe_folder(folder).missing == ()
    names = {path.name for path in find(str(folder), "").files().groups["tokenizer"]}
    assert {"vocab.json", "merges.txt", "added_tokens.json"} <= names
    one, two = (load_model(str(each), device="cpu").info.preprocessor for each in (folder, hub(family)))
    text = "<|im_start|>user\nWhat\u2019s  this?<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n"
    assert getattr(one, "encode")(text) == getattr(two, "encode")(text)  # noqa: B009 - no part of the protocol
    assert check_checkpoint(str(folder)).passed
    (folder / "merges.txt").unlink()
    assert refused(folder).why == "it has no tokenizer (tokenizer.json, or vocab.json and merges.txt)"


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "awq", "bits": 4},
        {"quant_method": "fp8"},
        {"load_in_4bit": True},
    ],
    ids=str,
)
def test_a_quantised_checkpoint_is_told(
    settings: dict[str, Any], hub: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = checkpoint_folders.copied(hub("qwen2_5_vl"), tmp_path / "ckpt")
    checkpoint_folders.rewritten(folder / "config.json", quantization_config=settings)
    found = describe_folder(folder)
    assert found.name == "quantised"
    assert f"quantised by `{settings.get('quant_method', 'bitsandbytes')}`" in found.sentence


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_names_its_base(family: str, hub: Callable[[str], Path], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    base = hub(family)
    model = peft.get_peft_model(
        checkpoint_folders.model_of(base), peft.LoraConfig(r=2, target_modules=["q_proj"])
    )
    model.save_pretrained(tmp_path / "adapter")
    found = describe_folder(tmp_path / "adapter")
    assert (found.name, found.sentence) == ("adapter", f"an adapter of `{base}`")
    assert load_model(str(tmp_path / "adapter"), device="cpu").info.family == family
    assert check_checkpoint(str(tmp_path / "adapter")).passed


ALL_BUT_WEIGHTS = ("config.json", "tokenizer", "chat template", "processor settings")
NOTHING = ("weights", *ALL_BUT_WEIGHTS)

REFUSED: dict[str, tuple[Maker, str, tuple[str, ...], tuple[str, ...]]] = {
    # how it is made, its kind, what the message says, what is missing
    "the inner checkpoints of a Trainer": (
        checkpoint_folders.only_inner,
        "training run",
        ("inside: checkpoint-500, checkpoint-1000", "--model '{folder}/checkpoint-*'"),
        ("weights",),
    ),
    "DeepSpeed ZeRO": (
        checkpoint_folders.zero,
        "DeepSpeed ZeRO",
        ("python {folder}/zero_to_fp32.py {folder} ",),
        ("weights",),
    ),
    "FSDP": (
        checkpoint_folders.fsdp,
        "FSDP",
        ("accelerate merge-weights {folder}/pytorch_model_fsdp_0 {folder}-merged",),
        ("weights",),
    ),
    "a pickle": (checkpoint_folders.pickled, ".bin", ("pytorch_model.bin", 'python -c "'), ("weights",)),
    "pickled shards": (checkpoint_folders.pickled_in_shards, ".bin", ('python -c "',), ("weights",)),
    "Megatron": (checkpoint_folders.megatron, "Megatron", ("swift export --mcore_model",), NOTHING),
    "verl": (
        checkpoint_folders.verl,
        "verl",
        ("verl.model_merger merge", "--local_dir {folder}/global_step_40/actor"),
        NOTHING,
    ),
    "the hub's cache": (
        checkpoint_folders.hub_cache,
        "hub cache",
        ("--model Org/Name", "snapshots/abab"),
        (),
    ),
    "a clone without lfs": (checkpoint_folders.cloned_without_lfs, "git-lfs pointers", ("git lfs pull",), ()),
    "half a download": (
        checkpoint_folders.half_downloaded,
        "unfinished download",
        ("incomplete", "hf download"),
        ("weights",),
    ),
    "GGUF": (checkpoint_folders.with_files("model-q4.gguf"), "GGUF", ("llama.cpp",), NOTHING),
    "GGUF beside settings": (
        checkpoint_folders.with_files("model-q4.gguf", settings=True),
        "GGUF",
        ("llama.cpp",),
        ("weights",),
    ),
    "ONNX": (
        checkpoint_folders.with_files("onnx/decoder.onnx", settings=True),
        "ONNX",
        ("ONNX",),
        ("weights",),
    ),
    "nothing": (
        checkpoint_folders.with_files(),
        "empty folder",
        ("not a model folder: it is empty",),
        NOTHING,
    ),
    "anything": (checkpoint_folders.with_files("notes.md"), "no model", ("not a model folder",), NOTHING),
    "settings only": (
        checkpoint_folders.with_files(settings=True),
        "no weights",
        ("the weights of `{folder}` are missing", "model.safetensors"),
        ("weights",),
    ),
    "weights only": (
        checkpoint_folders.weights_only,
        "no model",
        ("not a model folder", "nothing that says of what"),
        ALL_BUT_WEIGHTS,
    ),
    "a data set": (
        checkpoint_folders.with_files("data/test-0.parquet"),
        "data set",
        ("--data-root",),
        NOTHING,
    ),
    "Lightning": (checkpoint_folders.with_files("last.ckpt"), "pickled weights", ("last.ckpt",), NOTHING),
    "TensorFlow": (
        checkpoint_folders.with_files("tf_model.h5"),
        "TensorFlow or Flax",
        ("tf_model.h5",),
        NOTHING,
    ),
    "LLaVA's projector": (
        checkpoint_folders.with_files("mm_projector.bin", settings=True),
        "part of a LLaVA",
        ("mm_projector.bin",),
        ("weights",),
    ),
}


def refused(folder: Path, **options: Any) -> EvalkitError:
    with pytest.raises(EvalkitError) as caught:
        load_model(str(folder), device="cpu", **options)
    return caught.value


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", REFUSED)
def test_a_kind_that_is_refused(kind: str, family: str, hub: Callable[[str], Path], tmp_path: Path) -> None:
    """By what it is, with all that it lacks at once, and with what to do about it."""
    make, name, said, missing = REFUSED[kind]
    folder = make(hub(family), tmp_path / "ckpt")
    found = describe_folder(folder)
    assert (found.name, found.problem) == (name, "folder")
    error = refused(folder)
    with pytest.raises(EnvironmentProblem) as checked:
        check_checkpoint(str(folder))
    assert str(checked.value) == str(error)
    assert isinstance(error, EnvironmentProblem)
    assert error.exit_code == ExitCode.ENVIRONMENT
    assert str(folder) in error.what
    for words in said:
        assert words.format(folder=folder) in str(error)
    if name != "git-lfs pointers":
        assert tuple(each.partition(" (")[0] for each in found.missing) == missing
        assert all(f"no {each}" in error.why for each in found.missing)


def test_the_command_for_pickles_makes_a_checkpoint(hub: Callable[[str], Path], tmp_path: Path) -> None:
    folder = checkpoint_folders.pickled(hub("qwen2_5_vl"), tmp_path / "ckpt")
    python, dash, program = shlex.split(refused(folder).fix.split("`")[1])
    assert (python, dash) == ("python", "-c")
    (tmp_path / "program.py").write_text(program)
    runpy.run_path(str(tmp_path / "program.py"))
    for file in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copy(folder / file, tmp_path / "ckpt-safe")
    loaded: Any = load_model(str(tmp_path / "ckpt-safe"), device="cpu")
    assert torch.equal(
        loaded.module.lm_head.weight, load_file(hub("qwen2_5_vl") / SINGLE_WEIGHTS)["lm_head.weight"]
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_command_for_fsdp_makes_weights(family: str, hub: Callable[[str], Path], tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate.utils", reason="the package accelerate is not installed")
    folder = checkpoint_folders.fsdp(hub(family), tmp_path / "ckpt")
    words = shlex.split(refused(folder).fix.split("`")[1])
    assert words[:2] == ["accelerate", "merge-weights"]
    accelerate.merge_fsdp_weights(words[2], words[3], True, False)
    for file in folder.glob("*.json"):
        shutil.copy(file, words[3])
    loaded: Any = load_model(words[3], device="cpu")
    expected = parameters(checkpoint_folders.model_of(hub(family)))
    assert all(torch.equal(each, expected[name]) for name, each in parameters(loaded.module).items())


def test_commands_are_for_a_shell(hub: Callable[[str], Path], tmp_path: Path) -> None:
    folder = checkpoint_folders.zero(hub("qwen2_vl"), tmp_path / "my run; $(1)")
    command = shlex.split(refused(folder).fix.split("`")[1])
    assert command[1:4] == [f"{folder}/zero_to_fp32.py", str(folder), f"{folder}-merged"]


def test_empty_weights_of_zero_3(hub: Callable[[str], Path], tmp_path: Path) -> None:
    """What `save_pretrained` writes of parameters that lie on other processes."""
    folder = checkpoint_folders.copied(hub("qwen2_5_vl"), tmp_path / "ckpt")
    state = load_file(folder / SINGLE_WEIGHTS)
    save_file({name: torch.empty(0) for name in state}, folder / SINGLE_WEIGHTS, {"format": "pt"})
    error = refused(folder)
    assert "zero_to_fp32.py" in error.fix
    assert "is empty" in error.why


def test_the_inside_of_a_sharded_checkpoint_is_told(hub: Callable[[str], Path], tmp_path: Path) -> None:
    zero = checkpoint_folders.zero(hub("qwen2_5_vl"), tmp_path / "zero")
    assert "--tag global_step500" in refused(zero / "global_step500").fix
    fsdp = checkpoint_folders.fsdp(hub("qwen2_5_vl"), tmp_path / "fsdp")
    inside = fsdp / "pytorch_model_fsdp_0"
    assert f"accelerate merge-weights {inside} " in refused(inside).fix
    megatron = checkpoint_folders.megatron(hub("qwen2_5_vl"), tmp_path / "megatron")
    assert describe_folder(megatron / "iter_0000500").name == "Megatron"


@pytest.mark.parametrize("make", [checkpoint_folders.zero, checkpoint_folders.fsdp], ids=["ZeRO", "FSDP"])
def test_a_training_whose_steps_are_in_pieces(
    make: Maker, hub: Callable[[str], Path], tmp_path: Path
) -> None:
    """`--model RUN`, of which only `checkpoint-500` holds anything."""
    make(hub("qwen2_5_vl"), tmp_path / "run" / "checkpoint-500")
    name = describe_folder(tmp_path / "run").name
    assert name == ("DeepSpeed ZeRO" if make is checkpoint_folders.zero else "FSDP")
    assert str(tmp_path / "run" / "checkpoint-500") in refused(tmp_path / "run").fix


@pytest.mark.parametrize("below", ["", "Qwen2.5-VL-7B/v0-20261127", "sft/lora"])
def test_a_folder_of_trainings_names_what_is_inside(
    below: str, hub: Callable[[str], Path], tmp_path: Path
) -> None:
    """As LLaMA-Factory's `saves` and ms-swift's `output` are."""
    for step in ("checkpoint-1000", "checkpoint-500"):
        checkpoint_folders.copied(hub("qwen2_vl"), tmp_path / "out" / below / step)
    error = refused(tmp_path / "out")
    inner = [str(Path(below) / step) for step in ("checkpoint-500", "checkpoint-1000")]
    assert describe_folder(tmp_path / "out").inner == tuple(inner)
    assert f"inside: {inner[0]}, {inner[1]}" in error.what
    assert str(tmp_path / "out" / inner[1]) in error.fix


@pytest.mark.parametrize("family", FAMILIES)
def test_inner_checkpoints_beside_whole_weights_are_told(
    family: str, hub: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = checkpoint_folders.trained(hub(family), tmp_path / "run")
    assert describe_folder(folder).inner == ("checkpoint-500", "checkpoint-1000")
    [note] = [each for each in load_model(str(folder), device="cpu").info.notes if "checkpoint-500" in each]
    assert f"--model '{folder}/checkpoint-*'" in note


def test_missing_shards_are_named_with_all_else(hub: Callable[[str], Path], tmp_path: Path) -> None:
    folder = checkpoint_folders.sharded(hub("qwen2_5_vl"), tmp_path / "ckpt")
    gone = sorted(folder.glob("model-*"))[1:3]
    for path in (*gone, *folder.glob("tokenizer*"), folder / "chat_template.jinja"):
        path.unlink()
    (folder / "processor_config.json").unlink()
    why = refused(folder).why
    assert all(path.name in why for path in gone)
    assert all(f"no {part}" in why for part in ("tokenizer", "chat template", "processor settings"))


def test_a_dangling_snapshot_is_an_unfinished_download(hub: Callable[[str], Path], tmp_path: Path) -> None:
    home = checkpoint_folders.hub_cache(hub("qwen2_5_vl"), tmp_path)
    [snapshot] = (home / "snapshots").iterdir()
    load_model(str(snapshot), device="cpu")
    (snapshot / SINGLE_WEIGHTS).resolve().unlink()
    assert describe_folder(snapshot).name == "unfinished download"
    (snapshot / SINGLE_WEIGHTS).unlink()
    (home / "blobs" / "00ff.incomplete").write_bytes(b"")
    assert describe_folder(snapshot).name == "unfinished download"
    assert describe_folder(home.parent).name == "hub cache"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("model.gguf", "llama.cpp"),
        ("model.onnx", "ONNX"),
        ("pytorch_model.bin", 'python -c "'),
        ("model.safetensors", "one file of weights, and a checkpoint is a folder"),
        ("config.json", "a checkpoint is a folder"),
    ],
)
def test_a_single_file(file: str, said: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(b"x")
    error = refused(tmp_path / file)
    assert error.exit_code == ExitCode.USAGE
    assert said in str(error)


def test_mlx_weights_are_not_read_as_transformers_own(hub: Callable[[str], Path], tmp_path: Path) -> None:
    folder = checkpoint_folders.copied(hub("qwen2_5_vl"), tmp_path / "ckpt")
    save_file(load_file(folder / SINGLE_WEIGHTS), folder / SINGLE_WEIGHTS, {"format": "mlx"})
    assert "a model for MLX" in refused(folder).what


INTERNVL = {
    "model_type": "internvl_chat",
    "architectures": ["InternVLChatModel"],
    "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
    "llm_config": {"model_type": "qwen2"},
    "vision_config": {"model_type": "intern_vit_6b"},
}
"""Keys of the config.json of OpenGVLab/InternVL3-*, as its configuration_internvl_chat.py writes them."""

LLAVA = {
    "model_type": "llava_qwen",
    "architectures": ["LlavaQwenForCausalLM"],
    "mm_vision_tower": "google/siglip-so400m-patch14-384",
    "mm_projector_type": "mlp2x_gelu",
    "image_aspect_ratio": "anyres_max_9",
}
"""The same of lmms-lab/llava-onevision-qwen2-*."""

OTHERS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("InternVL3-8B", INTERNVL, "`OpenGVLab/InternVL3-8B-hf`"),
    ("InternVL3_5-4B-Instruct", INTERNVL, "`OpenGVLab/InternVL3_5-4B-HF`"),
    ("mine", INTERNVL | {"_name_or_path": "OpenGVLab/InternVL3-78B"}, "`OpenGVLab/InternVL3-78B-hf`"),
    ("mine", INTERNVL, "use the `-hf` repository"),
    ("llava-onevision-qwen2-0.5b-ov", LLAVA, "`llava-hf/llava-onevision-qwen2-0.5b-ov-hf`"),
    ("mine", LLAVA, "use the `llava-hf` repository"),
    ("mine", transformers.Qwen2Config().to_dict(), "speaks of neither images nor videos"),
    ("mine", transformers.LlamaConfig().to_dict(), "speaks of neither images nor videos"),
    ("mine", transformers.Qwen2_5_VLConfig().text_config.to_dict(), "speaks of neither images nor videos"),
    ("mine", transformers.Gemma3Config().to_dict(), "of the family `gemma3`"),
    ("mine", transformers.SmolVLMConfig().to_dict(), "of the family `smolvlm`"),
    ("mine", {"model_type": "phi3_v", "img_processor": {}, "auto_map": {}}, "of the family `phi3_v`"),
    ("mine", {"model_type": "llava_llama", "mm_vision_tower": "x"}, "of the family `llava_llama`"),
    ("mine", {"model_type": "MiniCPMV", "auto_map": {"A": "b.C"}, "vision_config": {}}, "not executed"),
    ("mine", {"hidden_size": 8}, "names no `model_type`"),
)


@pytest.mark.parametrize(("name", "config", "said"), OTHERS, ids=lambda value: str(value)[:24])
@pytest.mark.parametrize("stored", ["safetensors", "bin", "nothing"])
def test_other_families_are_told_however_they_are_stored(
    stored: str, name: str, config: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, default=str))
    if stored != "nothing":
        save_file(
            {"a": torch.ones(1)},
            folder / (SINGLE_WEIGHTS if stored == "safetensors" else "pytorch_model.bin"),
        )
    error = refused(folder)
    assert error.exit_code == ExitCode.USAGE
    assert said in str(error)
    assert ("speaks of" in said) == ("speaks of" in str(error))
    assert "internvl, llava_onevision" in error.why


def test_the_table_names_tests_that_there_are() -> None:
    """docs/models.md: each kind of folder with its test."""
    root = Path(__file__).parents[2]
    table = [line for line in (root / "docs/models.md").read_text().splitlines() if line.startswith("| ")]
    named = {name for line in table[1:] for name in re.findall(r"\btest_\w+", line)}
    written = "".join(path.read_text() for path in (root / "tests").glob("*/test_*.py"))
    files = {path.stem for path in (root / "tests").glob("*/test_*.py")}
    assert len(named) > 20
    assert [name for name in named - files if f"def {name}(" not in written] == []
    kinds = {kind for line in table for kind in re.findall(r"\[([^]*]+)-\*\]", line)}
    assert kinds == {*RUN, *REFUSED} - {"GGUF beside settings", "LLaVA's projector"}
