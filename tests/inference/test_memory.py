"""The token budget that is found from free memory and a model's config."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_families import TINY
from transformers_reference import adapter_of

from evalkit.inference import memory
from evalkit.inference.memory import (
    CACHE_OVERHEAD,
    MEMORY_FRACTION,
    MIN_TOKEN_BUDGET,
    free_bytes,
    token_budget,
)

CPU = torch.device("cpu")


def budget(name: str, models: int, feature_cache_bytes: int) -> int:
    model = TINY[name].model()
    widths = adapter_of(name).vision_width(model.config)
    return token_budget(model, models=models, feature_cache_bytes=feature_cache_bytes, vision_width=widths)


def test_free_memory_is_that_of_this_machine() -> None:
    import psutil

    assert 0 < free_bytes(CPU) <= psutil.virtual_memory().total


@pytest.mark.parametrize("name", TINY)
def test_the_budget_of_every_family(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and values of so many tokens fit, copies included, and more of them into twice the memory."""
    model = TINY[name].model()
    config = model.config.get_text_config()
    key = model.model.language_model.layers[0].self_attn.k_proj
    token = 2 * config.num_hidden_layers * key.out_features * 4
    sizes = []
    for gigabytes in (16, 32):
        monkeypatch.setattr(memory, "free_bytes", lambda device, size=gigabytes: size * 2**30)
        sizes.append(budget(name, 1, 2**30))
        assert (
            0.5 * gigabytes * 2**30 < sizes[-1] * token * CACHE_OVERHEAD < MEMORY_FRACTION * gigabytes * 2**30
        )
        shared = budget(name, 4, 2**30)
        assert sizes[-1] // 4 - 1 <= shared <= sizes[-1] // 4
    assert sizes[1] > 2 * sizes[0]


@pytest.mark.parametrize("name", TINY)
def test_widths_are_those_of_the_tower_s_layers(name: str) -> None:
    model = TINY[name].model()
    hidden, mlp = adapter_of(name).vision_width(model.config)
    shapes = [
        tuple(each.weight.shape)
        for each in model.get_submodule(adapter_of(name).vision_tower).modules()
        if isinstance(each, torch.nn.Linear)
    ]
    assert (mlp, hidden) in shapes
    assert (hidden, mlp) in shapes


@given(st.integers(0, 2**31))
def test_a_little_is_always_tried(free: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "free_bytes", lambda device: free)
        assert budget("qwen2_vl", 1, 2**31) >= MIN_TOKEN_BUDGET
