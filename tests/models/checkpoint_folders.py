"""Checkpoint folders as users have them, made by transformers, its Trainer, peft, torch and accelerate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from test_family_loading import save
from tiny_qwen import save_checkpoint

from evalkit.models.checkpoints.files import SINGLE_WEIGHTS

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_onevision", "internvl")

TEXT_ONLY = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""As ``tokenizer_config.json`` of Qwen2.5-VL has it, beside the one of ``chat_template.json``."""


def hub_layout(folder: Path, family: str) -> Path:
    """Settings in files of their own, as published repositories have them."""
    return save_checkpoint(folder) if family == "qwen2_5_vl" else save(folder, family)


def copied(made: Path, folder: Path) -> Path:
    return Path(shutil.copytree(made, folder))


def rewritten(path: Path, **changed: Any) -> None:
    """A JSON file with other values; None takes one out."""
    content = json.loads(path.read_text()) | changed
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def model_of(made: Path) -> Any:
    return transformers.AutoModelForImageTextToText.from_pretrained(made)


def model_only(made: Path, folder: Path) -> Path:
    model_of(made).save_pretrained(folder)
    return folder


def saved_by_5(made: Path, folder: Path) -> Path:
    model_of(made).save_pretrained(folder)
    transformers.AutoProcessor.from_pretrained(made).save_pretrained(folder)
    return folder


def trainer(made: Path, folder: Path, processing: Any) -> Any:
    options: Any = {"output_dir": str(folder), "report_to": [], "use_cpu": True, "max_steps": 1}
    arguments = transformers.TrainingArguments(**options)
    return transformers.Trainer(model_of(made), arguments, processing_class=processing)


def trained(made: Path, folder: Path) -> Path:
    """What ``Trainer.save_model`` leaves at the end, and in between."""
    running = trainer(made, folder, transformers.AutoProcessor.from_pretrained(made))
    for place in (None, str(folder / "checkpoint-500"), str(folder / "checkpoint-1000")):
        running.save_model(place)
    return folder


def trained_with_tokenizer(made: Path, folder: Path) -> Path:
    trainer(made, folder, transformers.AutoTokenizer.from_pretrained(made)).save_model()
    return folder


def only_inner(made: Path, folder: Path) -> Path:
    trained(made, folder)
    (folder / SINGLE_WEIGHTS).unlink()
    return folder


def sharded(made: Path, folder: Path) -> Path:
    saved_by_5(made, folder)
    (folder / SINGLE_WEIGHTS).unlink()
    model_of(made).save_pretrained(folder, max_shard_size="600KB")
    return folder


def in_bf16(made: Path, folder: Path) -> Path:
    saved_by_5(made, folder)
    model_of(made).to(torch.bfloat16).save_pretrained(folder)
    return folder


def names_of_the_running_model(made: Path, folder: Path) -> Path:
    """As programs write them that merge the pieces of a training."""
    copied(made, folder)
    state = {name: tensor.clone() for name, tensor in model_of(made).state_dict().items()}
    save_file(state, folder / SINGLE_WEIGHTS, {"format": "pt"})
    return folder


_OLDER = {
    "model.language_model.": "language_model.model.",
    "model.vision_tower.": "vision_tower.",
    "model.multi_modal_projector.": "multi_modal_projector.",
    "model.image_newline": "image_newline",
    "lm_head.": "language_model.lm_head.",
}
_OLDER_QWEN = {"model.language_model.": "model.", "model.visual.": "visual."}


def older_names(made: Path, folder: Path) -> Path:
    """As transformers named them before 4.52; Qwen3-VL came later."""
    copied(made, folder)
    family = json.loads((folder / "config.json").read_text())["model_type"]
    older = _OLDER_QWEN if "qwen" in family else _OLDER
    state = {}
    for name, tensor in model_of(made).state_dict().items():
        prefix = next((each for each in older if name.startswith(each)), "")
        state[older.get(prefix, "") + name.removeprefix(prefix)] = tensor.clone()
    save_file(state, folder / SINGLE_WEIGHTS, {"format": "pt"})
    return folder


def flat_config(made: Path, folder: Path) -> Path:
    """``config.json`` as transformers 4.45 to 4.51 wrote it for Qwen2-VL and Qwen2.5-VL."""
    older_names(made, folder)
    config = json.loads((folder / "config.json").read_text())
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    flat = {name: value for name, value in text.items() if name not in ("model_type", "layer_types")}
    flat |= {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
        "torch_dtype": "float32",
        "transformers_version": "4.49.0",
    }
    (folder / "config.json").write_text(json.dumps({**config, **flat}))
    return folder


def vocab_and_merges(made: Path, folder: Path) -> Path:
    copied(made, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(tokenizer["model"]["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    rewritten(folder / "tokenizer_config.json", tokenizer_class="Qwen2Tokenizer")
    (folder / "tokenizer.json").unlink()
    return folder


def pickled(made: Path, folder: Path) -> Path:
    copied(made, folder)
    torch.save(load_file(folder / SINGLE_WEIGHTS), folder / "pytorch_model.bin")
    (folder / SINGLE_WEIGHTS).unlink()
    return folder


def pickled_in_shards(made: Path, folder: Path) -> Path:
    copied(made, folder)
    state = load_file(folder / SINGLE_WEIGHTS)
    files = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    where = {name: files[number % 2] for number, name in enumerate(state)}
    for file in files:
        torch.save({name: each for name, each in state.items() if where[name] == file}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / SINGLE_WEIGHTS).unlink()
    return folder


def fsdp(made: Path, folder: Path) -> Path:
    """SHARDED_STATE_DICT, as accelerate saves it through ``torch.distributed.checkpoint``."""
    import torch.distributed.checkpoint as dcp

    copied(made, folder)
    (folder / SINGLE_WEIGHTS).unlink()
    state = {"model": model_of(made).state_dict()}
    dcp.save(state, checkpoint_id=folder / "pytorch_model_fsdp_0", no_dist=True)
    dcp.save({"optimizer": {"a": torch.ones(1)}}, checkpoint_id=folder / "optimizer_0", no_dist=True)
    return folder


def zero(made: Path, folder: Path) -> Path:
    """The files that ``DeepSpeedEngine.save_checkpoint`` writes in stage 3 (names as in its engine.py)."""
    copied(made, folder)
    (folder / SINGLE_WEIGHTS).unlink()
    state = folder / "global_step500"
    state.mkdir()
    for rank in (0, 1):
        torch.save({}, state / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
        torch.save({}, state / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
    (folder / "latest").write_text("global_step500")
    (folder / "zero_to_fp32.py").write_text("#!/usr/bin/env python\n")
    return folder


def megatron(made: Path, folder: Path) -> Path:
    ranks = folder / "iter_0000500" / "mp_rank_00"
    ranks.mkdir(parents=True)
    torch.save({}, ranks / "model_optim_rng.pt")
    (folder / "latest_checkpointed_iteration.txt").write_text("500")
    return folder


def verl(made: Path, folder: Path) -> Path:
    actor = folder / "global_step_40" / "actor"
    (actor / "huggingface").mkdir(parents=True)
    for rank in (0, 1):
        torch.save({}, actor / f"model_world_size_2_rank_{rank}.pt")
    shutil.copy(made / "config.json", actor / "huggingface")
    (folder / "latest_checkpointed_iteration.txt").write_text("40")
    return folder


def hub_cache(made: Path, folder: Path) -> Path:
    """``models--ORG--NAME`` as huggingface_hub keeps it: ``snapshots`` of links to ``blobs``."""
    home = folder / "models--Org--Name"
    snapshot = home / "snapshots" / ("ab" * 20)
    snapshot.mkdir(parents=True)
    (home / "blobs").mkdir()
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("ab" * 20)
    (home / ".no_exist" / ("ab" * 20)).mkdir(parents=True)
    for number, file in enumerate(sorted(made.iterdir())):
        shutil.copy(file, home / "blobs" / str(number))
        (snapshot / file.name).symlink_to(Path("../../blobs") / str(number))
    return home


def cloned_without_lfs(made: Path, folder: Path) -> Path:
    copied(made, folder)
    for name in (SINGLE_WEIGHTS, "tokenizer.json"):
        (folder / name).write_text(
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{'0' * 64}\nsize {(made / name).stat().st_size}\n"
        )
    return folder


def half_downloaded(made: Path, folder: Path) -> Path:
    """As ``hf download --local-dir`` leaves it when it is interrupted."""
    copied(made, folder)
    (folder / SINGLE_WEIGHTS).unlink()
    pending = folder / ".cache" / "huggingface" / "download"
    pending.mkdir(parents=True)
    (pending / "xGOKKLRSlIhH692hSVvI1-gpoa8=.0123abcd.incomplete").write_bytes(b"\0" * 64)
    return folder


def weights_only(made: Path, folder: Path) -> Path:
    """As ``accelerate.Accelerator.save_model`` writes them."""
    folder.mkdir()
    shutil.copy(made / SINGLE_WEIGHTS, folder)
    return folder


def with_files(*names: str, settings: bool = False) -> Callable[[Path, Path], Path]:
    """A folder that holds these files, beside a model's settings or not."""

    def make(made: Path, folder: Path) -> Path:
        folder.mkdir()
        if settings:
            shutil.copytree(made, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x" * 2000)
        return folder

    return make
