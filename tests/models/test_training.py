"""Three steps of training with a variant: what is saved is loaded and evaluated with it."""

from __future__ import annotations

import io
import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_qwen
import torch
from transformers import (
    AutoModelForImageTextToText,
    Qwen2_5_VLForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

import evalkit
from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.models import describe_model
from evalkit.models.checkpoints.rope_marker import NOTE, is_marker, marked_variant, marker_name
from evalkit.rope.hf.install import installed_in, uninstall
from evalkit.rope.variants import parse_variant
from evalkit.store import RunDir

VARIANT = "mhrope(temporal_stride=2)"


def example() -> dict[str, torch.Tensor]:
    """One training sample: some text about an image of 4 x 6 patches."""
    prompt = tiny_qwen.prompt("train", 3, ("image", (1, 4, 6)), 5)
    ids = torch.from_numpy(prompt.input_ids)
    (shown,) = prompt.vision
    return {
        "input_ids": ids,
        "labels": ids.clone(),
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": torch.from_numpy(prompt.token_types).long(),
        "pixel_values": torch.from_numpy(shown.patches).float() / 255,
        "image_grid_thw": torch.tensor(shown.grid),
    }


def collate(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    batch["pixel_values"] = batch["pixel_values"].flatten(0, 1)
    return batch


def trainer(model: Any, folder: Path, gradient_checkpointing: bool = False, **options: Any) -> Trainer:
    settings = TrainingArguments(
        gradient_checkpointing=gradient_checkpointing,
        output_dir=str(folder),
        max_steps=3,
        save_steps=3,
        per_device_train_batch_size=2,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        save_only_model=True,
    )
    options = {"data_collator": collate, **options}
    return Trainer(model, settings, train_dataset=[example()] * 6, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder that the Trainer saved, whole by the processor beside it, and the model as it was then."""
    folder = tmp_path_factory.mktemp("training")
    model = tiny_qwen.make_model()
    evalkit.install_rope(model, VARIANT)
    before = model.lm_head.weight.detach().clone()
    running = trainer(model, folder / "out")
    running.train()
    running.save_model(str(folder / "final"))
    assert not torch.equal(model.lm_head.weight, before)
    tiny_qwen.save_checkpoint(folder / "base")
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        for place in ("final", "out/checkpoint-3"):
            (folder / place / name).write_bytes((folder / "base" / name).read_bytes())
            video = "video_preprocessor_config.json"
            (folder / place / video).write_bytes((folder / "base" / video).read_bytes())
    return folder, model.eval()


def logits(model: Any) -> torch.Tensor:
    inputs = collate([example()])
    inputs.pop("labels")
    with torch.no_grad():
        found: torch.Tensor = model(**inputs).logits
    return found


@pytest.mark.parametrize("place", ["final", "out/checkpoint-3"])
def test_what_is_saved_is_loaded_with_its_variant(trained: tuple[Path, Any], place: str) -> None:
    folder, model = trained
    loaded = evalkit.load_model(folder / place)
    installed = installed_in(loaded)
    assert installed is not None
    assert str(installed.variant) == VARIANT
    assert torch.equal(logits(loaded), logits(model))
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    # It matters: as transformers alone computes it, the answer is another.
    plain = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder / place).eval()
    assert (logits(plain) - logits(model)).abs().max() > 1e-3


def test_it_is_evaluated_with_its_variant(trained: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = trained
    result = evalkit.evaluate(
        str(folder / "final"), "mini_chartqa", limit=1, workers=0, device="cpu", output=tmp_path / "run"
    )
    assert [arm.rope for arm in RunDir.open(tmp_path / "run").manifest().arms] == [VARIANT]
    assert not result.failed


def test_plain_transformers_is_told_on_loading(trained: tuple[Path, Any]) -> None:
    """By a line of its own load report, a warning; nothing of evalkit is asked, and no code is trusted."""
    said = io.StringIO()
    handler, logger = logging.StreamHandler(said), logging.getLogger("transformers")
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        AutoModelForImageTextToText.from_pretrained(trained[0] / "final", trust_remote_code=False)
    finally:
        logger.removeHandler(handler)
    (line,) = [each for each in said.getvalue().splitlines() if marker_name(VARIANT) in each]
    assert "UNEXPECTED" in line
    assert "load_with_evalkit_load_model" in line


def test_the_folder_says_it_in_words(trained: tuple[Path, Any]) -> None:
    for place in ("final", "out/checkpoint-3"):
        text = (trained[0] / place / NOTE).read_text()
        assert f"`{VARIANT}`" in text
        assert "evalkit.load_model" in text
        assert json.loads((trained[0] / place / "config.json").read_text())["rope_variant"] == VARIANT


def test_a_folder_without_a_variant_is_no_guess(trained: tuple[Path, Any]) -> None:
    base = trained[0] / "base"
    with pytest.raises(UsageError, match="names no RoPE variant"):
        evalkit.load_model(base)
    installed = installed_in(evalkit.load_model(base, rope="mrope"))
    assert installed is not None
    assert str(installed.variant) == "mrope"


def with_config(trained: tuple[Path, Any], folder: Path, **changes: Any) -> Path:
    shutil.copytree(trained[0] / "final", folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    kept = {name: each for name, each in config.items() if each is not None}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


def test_the_weights_say_it_where_the_configuration_was_replaced(
    trained: tuple[Path, Any], tmp_path: Path
) -> None:
    """As people do who copy the base's files over what a trainer left."""
    folder = with_config(trained, tmp_path / "copied", rope_variant=None)
    assert "rope_variant" not in json.loads((folder / "config.json").read_text())
    assert describe_model(str(folder)).variant == parse_variant(VARIANT)
    assert torch.equal(logits(evalkit.load_model(folder)), logits(trained[1]))
    sharded = tmp_path / "sharded"
    evalkit.load_model(folder).save_pretrained(sharded, max_shard_size="100KB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    assert marked_variant(sharded) == VARIANT


def test_weights_and_configuration_that_disagree_are_refused(
    trained: tuple[Path, Any], tmp_path: Path
) -> None:
    folder = with_config(trained, tmp_path / "odd", rope_variant="mrope")
    with pytest.raises(EnvironmentProblem, match="contradicts itself"):
        describe_model(str(folder))
    with pytest.raises(EnvironmentProblem, match="contradicts itself"):
        evalkit.load_model(folder)
    damaged = with_config(trained, tmp_path / "damaged")
    weights = damaged / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content.replace(VARIANT.encode(), b"\xff" * len(VARIANT)))
    with pytest.raises(EnvironmentProblem, match="should say the RoPE variant"):
        describe_model(str(damaged))
    respelt = with_config(trained, tmp_path / "respelt", rope_variant="mhrope(temporal_stride=2.0)")
    assert describe_model(str(respelt)).variant == parse_variant(VARIANT)


def test_another_variant_than_the_stored_one_is_refused(trained: tuple[Path, Any]) -> None:
    with pytest.raises(UsageError, match="was trained with"):
        evalkit.load_model(trained[0] / "final", rope="mrope")
    evalkit.load_model(
        trained[0] / "final", rope="mhrope( temporal_stride=2.0 )"
    )  # the same, spelt otherwise


def test_a_model_of_another_kind_is_told() -> None:
    with pytest.raises(UsageError, match="can't be installed"):
        evalkit.install_rope(torch.nn.Linear(2, 2), "mrope")
    with pytest.raises(UsageError, match="Did you mean `mhrope`"):
        evalkit.install_rope(tiny_qwen.make_model(), "mhropes")


def test_another_variant_replaces_the_first_and_its_marker() -> None:
    model = tiny_qwen.make_model()
    evalkit.install_rope(model, "mrope")
    evalkit.install_rope(model, "mrope-i")
    assert [name for name in model.state_dict() if is_marker(name)] == [marker_name("mrope-i")]


def test_gradient_checkpointing_changes_nothing(trained: tuple[Path, Any], tmp_path: Path) -> None:
    model = tiny_qwen.make_model()
    evalkit.install_rope(model, VARIANT)
    trainer(model, tmp_path, gradient_checkpointing=True).train()
    for name, weight in model.state_dict().items():
        assert torch.allclose(weight, trained[1].state_dict()[name], atol=1e-6), name


class Collator:
    """Numbers positions itself, by a function that it took when it was made, as LLaMA-Factory's does
    (src/llamafactory/data/collator.py, `get_rope_func`).
    """

    def __init__(self, model: Any) -> None:
        self.get_rope_func = model.model.get_rope_index

    def __call__(self, rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        batch = collate(rows)
        found, batch["rope_deltas"] = self.get_rope_func(
            input_ids=batch["input_ids"],
            image_grid_thw=batch["image_grid_thw"],
            video_grid_thw=None,
            attention_mask=(batch["attention_mask"] >= 1).float(),
        )
        batch["position_ids"] = torch.cat([found[:1], found])
        return batch


def test_a_callback_reaches_a_collator_that_numbers_positions_itself(tmp_path: Path) -> None:
    model = tiny_qwen.make_model()
    collator = Collator(model)
    running = trainer(model, tmp_path, data_collator=collator, callbacks=[evalkit.RopeCallback("vanilla")])
    seen: list[torch.Tensor] = []
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["position_ids"]), with_kwargs=True
    )
    running.train()
    count = len(example()["input_ids"])
    for positions in seen:
        assert torch.equal(positions, torch.arange(count).expand_as(positions))
    assert len(seen) == 3


def test_a_variant_that_was_uninstalled_is_told(tmp_path: Path) -> None:
    model = tiny_qwen.make_model()
    running = trainer(model, tmp_path, callbacks=[evalkit.RopeCallback("mrope-i")])
    uninstall(model)
    with pytest.raises(UsageError, match="no longer in the model"):
        running.train()


def test_an_adapter_says_its_variant(trained: tuple[Path, Any], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    base = Qwen2_5_VLForConditionalGeneration.from_pretrained(trained[0] / "base")
    evalkit.install_rope(base, "mrope-i")
    adapted = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"]))
    evalkit.install_rope(adapted, "mrope-i")
    running = trainer(adapted, tmp_path / "out")
    running.train()
    running.save_model(str(tmp_path / "lora"))
    assert "`mrope-i`" in (tmp_path / "lora" / NOTE).read_text()
    loaded = evalkit.load_model(tmp_path / "lora")
    assert torch.allclose(logits(loaded), logits(adapted.eval()), atol=1e-5)
    installed = installed_in(loaded)
    assert installed is not None
    assert str(installed.variant) == "mrope-i"


def test_positions_are_given_to_who_asks_the_model_each_time() -> None:
    """By the arguments of the model's own `get_rope_index`, as ms-swift's templates call it."""
    model = tiny_qwen.make_model()
    evalkit.install_rope(model, "vanilla")
    one = SimpleNamespace(**{name: each[None] for name, each in example().items()})
    found, _ = model.model.get_rope_index(
        one.input_ids, None, one.image_grid_thw, None, attention_mask=one.attention_mask
    )
    assert torch.equal(found, torch.arange(one.input_ids.shape[1]).expand_as(found))
