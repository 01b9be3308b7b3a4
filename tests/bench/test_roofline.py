"""The formulas of the roofline against FLOPs that PyTorch counts."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from tiny_families import TINY
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers_reference import NORMALISE, adapter_of

from evalkit.core.types import Prepared
from tools.bench.machine import measured, union
from tools.bench.roofline import UsefulWork, language_model_size, useful_work, vision_tower_size


def counted(work: Any) -> int:
    # As matrix products: older versions of PyTorch don't count a CPU's fused attention.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        work()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", TINY)
def test_the_tower_takes_what_the_formula_says(name: str) -> None:
    family = TINY[name]
    model = family.model()
    for item in family.prompts:
        if not item.vision:
            continue
        expected = sum(vision_tower_size(model, adapter_of(name)).flops(medium) for medium in item.vision)
        found = counted(lambda item=item: family.encode(model, item.vision, NORMALISE))
        # SigLIP's pooling head, of which a language model sees nothing, is no useful work.
        assert expected == found if name != "llava_onevision" else 0.9 * found < expected < found


def test_windows_at_the_edge_are_smaller() -> None:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from evalkit.models.families._qwen import vision as qwen_vision

    family = TINY["qwen2_5_vl"]
    model = family.model()
    config: Qwen2_5_VLConfig = model.config
    config.vision_config.depth = 3
    config.vision_config.window_size = 112
    config.vision_config.fullatt_block_indexes = [1]
    torch.manual_seed(0)
    windowed = Qwen2_5_VLForConditionalGeneration(config).eval()
    medium = family.prompts[0].vision[0]
    grid = (2, 20, 26)
    patches = np.zeros((math.prod(grid), medium.patches.shape[1]), np.uint8)
    shown = type(medium)("video", patches, grid, ((2, 10, 13),))
    tower = vision_tower_size(windowed, adapter_of("qwen2_5_vl"))
    assert (tower.full, tower.windowed, tower.window) == (1, 2, 8)
    assert tower.flops(shown) == counted(lambda: qwen_vision.encode(windowed, [shown], NORMALISE))


@pytest.mark.parametrize("name", TINY)
def test_the_language_model_takes_what_the_formula_says(name: str) -> None:
    model = TINY[name].model()
    text = language_model_size(model)
    tokens = 50
    hidden = torch.randn(1, tokens, model.config.get_text_config().hidden_size)
    found = counted(lambda: model.model.language_model(inputs_embeds=hidden, use_cache=False))
    # PyTorch counts the masked half of causal attention too.
    masked = 4 * text.layers * text.width * (tokens * (tokens - 1) / 2)
    # And the angles of positions (three axes at most), which some versions of transformers get by a product.
    angles = 3 * tokens * text.width // model.config.get_text_config().num_attention_heads
    assert 0 <= found - (text.prefill_flops(tokens) + masked) <= angles
    assert counted(lambda: model.lm_head(hidden[:, -1])) == 2 * text.head


def test_reading_in_two_parts_is_the_same_work() -> None:
    text = language_model_size(TINY["qwen3_vl"].model())
    assert text.prefill_flops(30) + text.prefill_flops(12, past=30) == text.prefill_flops(42)


def test_shared_prefixes_and_media_count_once_and_answers_as_often_as_they_are() -> None:
    family = TINY["qwen2_vl"]
    model, adapter = family.model(), adapter_of("qwen2_vl")
    first = family.prompts[0]
    rest = np.full(5, 7, np.int64)
    other = Prepared(
        "other",
        np.concatenate([first.input_ids[: first.prefix], rest]),
        np.concatenate([first.token_types[: first.prefix], np.zeros(5, np.uint8)]),
        first.vision,
        8,
        prefix=first.prefix,
    )
    alone = useful_work(model, adapter, [[first]], {first.key: 3})
    both = useful_work(model, adapter, [[first, other]], {first.key: 3, "other": 1})
    text = language_model_size(model)
    assert both.vision == alone.vision
    assert both.prefill - alone.prefill == text.prefill_flops(5, past=first.prefix) + 2 * text.head
    lockstep = useful_work(model, adapter, [[first]], {first.key: 3}, models=4)
    assert lockstep.vision == alone.vision
    assert lockstep.prefill == 4 * alone.prefill
    assert useful_work(model, adapter, [[first]], {first.key: 1}).decode == 0


def test_decoding_is_bound_by_what_is_slower() -> None:
    work = UsefulWork(vision=10.0, prefill=20.0, decode=6.0, decode_bytes=8.0)
    assert work.seconds(peak=2.0, bandwidth=4.0) == 15 + 3
    assert work.seconds(peak=2.0, bandwidth=1.0) == 15 + 8


def test_what_spans_cover_is_counted_once() -> None:
    assert union([]) == 0
    assert union([(0, 10), (1, 2), (9, 12), (20, 21)]) == 13


def test_usage_is_measured() -> None:
    with measured(torch.device("cpu")) as usage:
        until = time.process_time() + 0.1  # the system counts in hundredths of a second
        while time.process_time() < until:
            pass
    assert 0.01 <= usage.seconds < 60  # other threads' time counts too
    assert usage.cpu > 0
    assert usage.memory > 10_000_000
