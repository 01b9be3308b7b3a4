"""What is left of special tokens in an answer: the markup that a family writes, not chat control."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from family_checkpoints import save_folder
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from evalkit.metrics.boxes import parse_box
from evalkit.models import describe_model
from evalkit.models.detokenize import Detokenizer, control_tokens

MARKUP = {
    "qwen2_vl": (
        "<|object_ref_start|>",
        "<|object_ref_end|>",
        "<|box_start|>",
        "<|box_end|>",
        "<|quad_start|>",
    ),
    "qwen3_vl": ("<|box_start|>", "<|box_end|>", "<|point_start|>", "<|point_end|>"),
    "internvl": ("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>"),
    "llava_onevision": ("<loc_1>", "<seg>"),
}
TWO = "(10,20),(30,40)"


def with_markup(folder: Path, family: str) -> Any:
    """A family's tokenizer with further special tokens, written and read by transformers."""
    save_folder(folder, family)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"extra_special_tokens": list(MARKUP[family])})
    tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def decoded(tokenizer: Any, text: str, chat: str, ends: tuple[str, ...] = ("<|im_end|>",)) -> str:
    stop = [tokenizer.convert_tokens_to_ids(each) for each in ends]
    found = Detokenizer(tokenizer, control_tokens(tokenizer, chat, stop))
    return found(tokenizer.encode(text, add_special_tokens=False))


@pytest.mark.parametrize("family", MARKUP)
def test_markup_stays_and_chat_control_goes(tmp_path: Path, family: str) -> None:
    tokenizer = with_markup(tmp_path / "m", family)
    message = [
        {"role": "user", "content": [{"type": "image"}, {"type": "video"}, {"type": "text", "text": "?"}]}
    ]
    chat = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    marked = "".join(f"{each}{number}" for number, each in enumerate(MARKUP[family]))
    assert (
        tokenizer.decode(tokenizer.encode(marked), skip_special_tokens=True) != marked
    )  # what it was before
    media = {"internvl": "<img><IMG_CONTEXT></img><video>", "llava_onevision": "<image><video>"}
    control = media.get(family, "<|vision_start|><|image_pad|><|video_pad|><|vision_end|>")
    assert decoded(tokenizer, f"<|im_start|>{control}{marked}<|endoftext|><|im_end|>", chat) == marked


def test_two_boxes_of_a_real_vocabulary_are_two(shared: Path) -> None:
    """The added tokens of Qwen2-VL as its own tokenizer_config.json lists them."""
    for name in ("Qwen2_VL", "Qwen2_5_VL", "Qwen3_VL", "InternVL3_original"):
        config = json.loads((shared / "hub_configs" / name / "tokenizer_config.json").read_text())
        tokenizer = bytes_with(config["added_tokens_decoder"].values(), config)
        internvl = name.startswith("Intern")
        start, end = ("<box>", "</box>") if internvl else ("<|box_start|>", "<|box_end|>")
        text = f"{start}{TWO}{end}{start}(1,2),(3,4){end}"
        chat = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>?<|im_end|>\n"
        read = decoded(tokenizer, f"{text}<|vision_pad|><|im_end|><|endoftext|>", chat)
        assert read == text
        assert parse_box(read) == (10, 20, 30, 40)


def bytes_with(added: Any, config: dict[str, Any]) -> Any:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    for each in added:
        token = AddedToken(each["content"], normalized=False)
        tokenizer.add_special_tokens([token]) if each["special"] else tokenizer.add_tokens([token])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=config["eos_token"], pad_token=config["pad_token"]
    )


def test_tags_of_reasoning_stay_although_the_template_opens_them() -> None:
    tokenizer = bytes_with(
        [{"content": each, "special": True} for each in ("<|im_end|>", "<think>", "</think>", "◁/think▷")],
        {"eos_token": "<|im_end|>", "pad_token": "<|im_end|>"},
    )
    text = "<think>R</think>B◁/think▷好"
    assert decoded(tokenizer, text + "<|im_end|>", "<|im_start|>assistant\n<think>\n") == text


def test_the_models_text_is_that_of_this_rule(tiny_checkpoint: Path) -> None:
    """Through the door that runs use: a loaded checkpoint whose vocabulary has a box's tags."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|box_start|>", "<|box_end|>"]})
    tokenizer.save_pretrained(tiny_checkpoint)
    model = describe_model(str(tiny_checkpoint)).load()
    ids = model.info.processor.tokenizer.encode(f"<|box_start|>{TWO}<|box_end|><|im_end|>")
    assert model.detokenize(ids) == f"<|box_start|>{TWO}<|box_end|>"  # type: ignore[attr-defined]


@pytest.fixture
def tiny_checkpoint(tmp_path: Path) -> Path:
    from tiny_qwen import save_checkpoint

    return save_checkpoint(tmp_path / "tiny")
