"""``evalkit bench ropes``: what building position ids costs.

One video of many visual tokens between two pieces of text, in a batch of equal rows, on a tiny
Qwen2.5-VL with random weights. Compared are our ``get_rope_index`` (from the call's tensors to position
ids), transformers' own on the same tensors, and the language model's prefill of one such row, which
is multiplied by the number of rows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from evalkit.core.console import write
from evalkit.core.provenance import hardware, versions
from evalkit.rope.hf.install import install, uninstall
from evalkit.rope.variant import RopeVariant

MAX_SHARE = 0.02
MIN_RATIO = 10.0
_VIDEO, _TEXT, _START, _END = 5, 3, 6, 7


def bench_ropes(tokens: int, batch: int, variants: Sequence[RopeVariant], device: str) -> int:
    """Measure and print; exit code 1 if a variant misses ``MAX_SHARE`` or ``MIN_RATIO``."""
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    model = _model().to(place)
    inputs = _inputs(tokens, batch, place)
    count = int(inputs["mm_token_type_ids"][0].count_nonzero())
    write(f"{versions()}\n{hardware()}\n{batch} rows of {count} visual tokens, device {place}\n")
    native = _median(lambda: model.model.get_rope_index(**inputs), place, 5)
    hidden = torch.randn(1, inputs["input_ids"].shape[1], model.config.text_config.hidden_size, device=place)
    prefill = batch * _median(lambda: model.model.language_model(inputs_embeds=hidden), place, 1)
    write(f"{'transformers get_rope_index':40} {1e3 * native:9.2f} ms\n")
    write(f"{'prefill of the tiny language model':40} {1e3 * prefill:9.2f} ms\n")
    missed = False
    for variant in variants:
        install(model, variant)
        ours = _median(lambda: model.model.get_rope_index(**inputs), place, 15)
        uninstall(model)
        ratio, share = native / ours, ours / prefill
        missed |= ratio < MIN_RATIO or share > MAX_SHARE
        write(f"{variant!s:40} {1e3 * ours:9.2f} ms  {ratio:6.1f} x faster  {100 * share:.3f} % of prefill\n")
    return int(missed)


def _model() -> Any:
    """A tiny Qwen2.5-VL: two layers, eight heads of 32, two of 64 in the vision tower."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        "vocab_size": 64,
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 131072,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
    }
    vision = {"depth": 1, "hidden_size": 64, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 256}
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, video_token_id=_VIDEO, image_token_id=4)
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def _inputs(tokens: int, batch: int, place: torch.device) -> dict[str, Any]:
    """Text, a video of 10 x 15 tokens a step, text."""
    height, width = 10, 15
    frames = max(1, tokens // (height * width))
    row = [_TEXT] * 40 + [_START] + [_VIDEO] * (frames * height * width) + [_END] + [_TEXT] * 60
    ids = torch.tensor(row).repeat(batch, 1)
    grid = torch.tensor([[frames, 2 * height, 2 * width]]).repeat(batch, 1)
    moved = {
        "input_ids": ids,
        "mm_token_type_ids": 2 * (ids == _VIDEO).int(),
        "video_grid_thw": grid,
        "second_per_grid_ts": torch.ones(batch),
        "attention_mask": torch.ones_like(ids),
    }
    return {name: value.to(place) for name, value in moved.items()}


@torch.inference_mode()
def _median(work: Callable[[], Any], place: torch.device, repeats: int) -> float:
    """Median seconds of a few runs, after one that warms up."""
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])
