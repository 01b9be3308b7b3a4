"""A tiny random Qwen2.5-VL, and prompts for it made of lengths and grids."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from evalkit.types import MediaKind, Prepared, VisionInput

VOCABULARY = 160
START, END, IMAGE_PAD, VIDEO_PAD, PAD, EOS = 150, 151, 152, 153, 154, 155


def tiny_config(heads: int = 4, kv_heads: int = 4) -> Qwen2_5_VLConfig:
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16 * heads,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
        "bos_token_id": None,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 16 * heads,
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
    model = Qwen2_5_VLForConditionalGeneration(tiny_config(heads, kv_heads)).eval()
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
            ids += random.integers(0, 140, part).tolist()
            types += [0] * part
            continue
        kind, (t, h, w) = part
        count = t * h * w // 4
        ids += [START, *[IMAGE_PAD if kind == "image" else VIDEO_PAD] * count, END]
        types += [0, *[1 if kind == "image" else 2] * count, 0]
        patches = random.integers(0, 256, (t * h * w, 3 * 2 * 14 * 14), dtype=np.uint8)
        vision.append(VisionInput(kind, patches, (t, h, w), 0.8 if kind == "video" else None))
    return Prepared(key, np.array(ids, dtype=np.int64), np.array(types, dtype=np.uint8), tuple(vision), limit)


PROMPTS = (
    prompt("image", 5, ("image", (1, 6, 8)), 7),
    prompt("two images", 3, ("image", (1, 4, 4)), 4, ("image", (1, 8, 4)), 6),
    prompt("video", 4, ("video", (9, 4, 4)), 5),
    prompt("image+video", 2, ("image", (1, 4, 6)), 3, ("video", (5, 4, 4)), 9),
    prompt("text-only", 11),
)
