"""The tiny models' architecture, and the checkpoint folders that hold them.

Transformers' own Qwen2.5-VL classes at about a million parameters. Two choices differ from the big
models, each for a reason:

* the vision tower attends within one cell of 28 pixels only (``window_size`` 28, no full-attention block), so
  that all that the language model knows of a token's place comes from the RoPE variant;
* the rotary base is smaller, because positions end near 50 instead of 32,768 (see ``ROPE_BASE``).

Folders are written as a hub repository would hold them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from evalkit.core.atomic_files import atomic_folder
from evalkit.zoo.token_grids import CELL
from tools.zoo_training import prompts

ROPE_BASE = 1e4
"""Rotary base. The width axis of chunked MRoPE begins at a wavelength of 2,000 positions for pictures 6
wide; in Qwen2.5-VL (base 1e6, 64 pairs) at 35,000 for pictures up to 100 wide: as coarse, relatively."""

HEADS = 5
"""Each with keys and values of its own, so that MHRoPE gives one to time, two to height and two to width.
With four, and so one to height and one to width, it didn't learn to find a line by its label (21% of codes
after as many steps as taught it 98% with 2:3:3 of eight): a line, and a place in it, are two axes' business.
"""

HIDDEN = 32 * HEADS
"""Heads of 32 channels: the smallest that vLLM's kernels for processors take."""


def config(vocabulary: int, variant: str) -> Any:
    """The model's configuration; ``rope_variant`` says which variant the weights were trained with."""
    from transformers import Qwen2_5_VLConfig

    text = {
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 4,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_BASE, "mrope_section": [4, 6, 6]},
        "use_sliding_window": False,
        "initializer_range": 0.06,
        "bos_token_id": None,
        "eos_token_id": prompts.END,
        "pad_token_id": prompts.PAD,
    }
    vision = {
        "depth": 1,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 4,
        "out_hidden_size": HIDDEN,
        "patch_size": CELL // 2,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": CELL,
        "fullatt_block_indexes": [],
        # One temporal position per second: with 2 fps and two frames a patch, every variant counts
        # temporal steps alike (the paper switches Qwen2.5's absolute time off, too).
        "tokens_per_second": 1,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=prompts.IMAGE_PAD,
        video_token_id=prompts.VIDEO_PAD,
        initializer_range=0.06,
        vision_start_token_id=prompts.VISION_START,
        vision_end_token_id=prompts.VISION_END,
        tie_word_embeddings=True,
        eos_token_id=prompts.END,
        pad_token_id=prompts.PAD,
        rope_variant=variant,
    )


def build(vocabulary: int, variant: str, seed: int) -> Any:
    """A freshly initialised model: the same weights for every variant."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2_5_VLForConditionalGeneration(config(vocabulary, variant))


def save(model: Any, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a folder that ``AutoModel*/AutoProcessor.from_pretrained`` loads (float16 weights).

    Written beside and moved into place, so that a reader never meets half a checkpoint.
    """
    from transformers import GenerationConfig

    half = build(model.config.text_config.vocab_size, model.config.rope_variant, 0).half()
    half.load_state_dict({name: value.half() for name, value in model.state_dict().items()})
    half.generation_config = GenerationConfig(
        eos_token_id=prompts.END, pad_token_id=prompts.PAD, do_sample=False
    )
    with atomic_folder(folder) as fresh:
        half.save_pretrained(fresh, safe_serialization=True)
        tokenizer.save(str(fresh / "tokenizer.json"))
        for name, content in (
            ("tokenizer_config.json", prompts.tokenizer_config()),
            ("preprocessor_config.json", prompts.image_processor_config()),
            ("video_preprocessor_config.json", prompts.video_processor_config()),
        ):
            (fresh / name).write_text(json.dumps(content, indent=2) + "\n")
        for path in fresh.iterdir():
            path.chmod(0o644)  # safetensors writes files that only their owner may read
        shutil.rmtree(folder, ignore_errors=True)
