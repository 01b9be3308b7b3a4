"""The checkpoints in the repository, through the doors that any checkpoint goes through."""

import json

import numpy as np
import pytest

from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.zoo import MODELS, VARIANTS, resolve
from evalkit.zoo.scenes import SCENES, generator
from tools.zoo_training import prompts

FILES = {
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
}


def test_unknown_names_say_what_exists():
    with pytest.raises(UsageError, match="`tiny`"):
        resolve("tinny", "mrope")
    with pytest.raises(
        UsageError, match=r"(?s)mrope-i.*python -m tools\.zoo_training\.train --variant 'mrope-j'"
    ) as error:
        resolve("tiny", "mrope-j")
    assert all(variant in error.value.why for variant in VARIANTS)


def test_missing_files_name_the_training_command(monkeypatch, tmp_path):
    monkeypatch.setattr("evalkit.zoo.CHECKPOINTS", tmp_path)
    with pytest.raises(EnvironmentProblem, match=r"python -m tools\.zoo_training\.train --variant mrope-i"):
        resolve("tiny", "mrope-i")


@pytest.mark.parametrize("variant", VARIANTS)
def test_folder_is_complete_and_small(variant):
    folder = resolve(MODELS[0], variant)
    assert {path.name for path in folder.iterdir()} == FILES
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4 * 2**20
    config = json.loads((folder / "config.json").read_text())
    assert config["rope_variant"] == variant
    assert config["text_config"]["num_key_value_heads"] >= 4


@pytest.mark.parametrize("variant", VARIANTS)
def test_ordinary_from_pretrained(variant):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

    folder = resolve("tiny", variant)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    assert type(model).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert 0.9e6 < sum(p.numel() for p in model.parameters()) < 2e6
    assert model.generation_config.eos_token_id == prompts.END
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token == "<|im_end|>"
    processor = AutoProcessor.from_pretrained(folder)
    assert type(processor).__name__ == "Qwen2_5_VLProcessor"
    assert processor.image_processor.patch_size == 14


@pytest.mark.parametrize("task", SCENES)
def test_chat_template_gives_the_prompt_of_the_training(task):
    pytest.importorskip("transformers")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve("tiny", "mrope-i"))
    trained = prompts.build_tokenizer()
    question = SCENES[task](generator("t", 1)).questions[0]
    kind = "video" if task == "mini_video" else "image"
    content = [{"type": kind}, {"type": "text", "text": prompts.prompt_text(question)}]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    before, after = prompts.chat(question, video=kind == "video")
    assert text == before + after
    assert tokenizer(text)["input_ids"] == trained.encode(text).ids


def test_prompts_are_worded_as_the_model_family_words_them():
    pytest.importorskip("torch")
    from evalkit.models.families.qwen2_5_vl.adapter import FAMILY_ADAPTER

    assert FAMILY_ADAPTER.locate == prompts.LOCATE


def test_variants_share_everything_but_what_was_trained_per_variant():
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    states = [load_file(resolve("tiny", variant) / "model.safetensors") for variant in VARIANTS]
    frozen = [name for name in states[0] if "visual" in name and "merger" not in name]
    assert frozen
    for other in states[1:]:
        assert all(torch.equal(states[0][name], other[name]) for name in frozen)
        moved = [name for name in states[0] if not torch.equal(states[0][name], other[name])]
        assert any("self_attn" in name for name in moved)
        assert all(np.isfinite(other[name].float().numpy()).all() for name in moved)
