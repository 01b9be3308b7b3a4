"""A tiny random Qwen2.5-VL, and prompts for it made of lengths and grids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from evalkit.core.types import MediaKind, Prepared, VisionInput

SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
PAD, TURN, EOS, START, END, IMAGE_PAD, VIDEO_PAD = range(256, 263)
VOCABULARY = 272

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for item in message.content %}"
    "{% if item.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif item.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ item.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_config(heads: int = 4, kv_heads: int = 4) -> Qwen2_5_VLConfig:
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32 * heads,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
        "bos_token_id": None,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 32 * heads,
        "window_size": 56,
        "fullatt_block_indexes": [0],
        "tokens_per_second": 2,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=IMAGE_PAD,
        video_token_id=VIDEO_PAD,
        vision_start_token_id=START,
        vision_end_token_id=END,
    )


def make_model(heads: int = 4, kv_heads: int = 4) -> Any:
    """A new model with the same random weights every time, large enough to tell positions apart."""
    torch.manual_seed(0)
    return scaled(Qwen2_5_VLForConditionalGeneration(tiny_config(heads, kv_heads)).eval())


def scaled(model: Any) -> Any:
    """The model with larger weights: otherwise all answers are alike."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.mul_(6.0 if "q_proj" in name or "k_proj" in name else 3.0)
    return model


def prompt(key: str, *parts: int | tuple[MediaKind, tuple[int, int, int]], limit: int = 12) -> Prepared:
    """A prompt out of text lengths and media grids (patches); contents depend on ``key`` only."""
    random = np.random.default_rng(sum(key.encode()))
    ids: list[int] = []
    types: list[int] = []
    vision: list[VisionInput] = []
    for part in parts:
        if isinstance(part, int):
            ids += random.integers(0, 256, part).tolist()
            types += [0] * part
            continue
        kind, (t, h, w) = part
        count = t * h * w // 4
        ids += [START, *[IMAGE_PAD if kind == "image" else VIDEO_PAD] * count, END]
        types += [0, *[1 if kind == "image" else 2] * count, 0]
        patches = random.integers(0, 256, (t * h * w, 3 * 2 * 14 * 14), dtype=np.uint8)
        block = (t, h // 2, w // 2)
        vision.append(VisionInput(kind, patches, (t, h, w), (block,), 0.8 if kind == "video" else None))
    prefix = max((place + 1 for place, kind in enumerate(types) if kind), default=0)
    return Prepared(
        key,
        np.array(ids, dtype=np.int64),
        np.array(types, dtype=np.uint8),
        tuple(vision),
        limit,
        prefix=prefix,
    )


PROMPTS = (
    prompt("image", 5, ("image", (1, 6, 8)), 7),
    prompt("two images", 3, ("image", (1, 4, 4)), 4, ("image", (1, 8, 4)), 6),
    prompt("video", 4, ("video", (9, 4, 4)), 5),
    prompt("image+video", 2, ("image", (1, 4, 6)), 3, ("video", (5, 4, 4)), 9),
    prompt("text-only", 11),
)


def save_checkpoint(folder: Path, model: Any = None) -> Path:
    """A complete checkpoint folder: weights, byte-level tokenizer, chat template, processor settings."""
    model = model or make_model()
    model.generation_config.eos_token_id = [EOS, PAD]
    model.save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIALS))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": SPECIALS[0],
        "eos_token": SPECIALS[2],
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    sizes = {"shortest_edge": 4 * 28 * 28, "longest_edge": 64 * 28 * 28}
    processor = {"size": sizes, "patch_size": 14, "merge_size": 2, "temporal_patch_size": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    frames = {**processor, "size": {"shortest_edge": 4 * 28 * 28, "longest_edge": 16 * 28 * 28}}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(frames))
    return folder
