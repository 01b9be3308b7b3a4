"""The token budget that is found from free memory and a model's config."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_families import TINY

from evalkit.inference import memory
from evalkit.inference.memory import (
    CACHE_OVERHEAD,
    MEMORY_FRACTION,
    MIN_TOKEN_BUDGET,
    free_bytes,
    token_budget,
)

CPU = torch.device("cpu")


def test_free_memory_is_that_of_this_machine() -> None:
    import psutil

    assert 0 < free_bytes(CPU) <= psutil.virtual_memory().total


@pytest.mark.parametrize("name", TINY)
def test_the_budget_of_every_family(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and values of the tokens that it can_admit fit, copies included, and twice the memory can_admit more."""
    model = TINY[name].model()
    config = model.config.get_text_config()
    key = model.model.language_model.layers[0].self_attn.k_proj
    token = 2 * config.num_hidden_layers * key.out_features * 4
    sizes = []
    for gigabytes in (16, 32):
        monkeypatch.setattr(memory, "free_bytes", lambda device, size=gigabytes: size * 2**30)
        sizes.append(token_budget(model, 1, 2**30))
        assert (
            0.5 * gigabytes * 2**30 < sizes[-1] * token * CACHE_OVERHEAD < MEMORY_FRACTION * gigabytes * 2**30
        )
        shared = token_budget(model, 4, 2**30)
        assert sizes[-1] // 4 - 1 <= shared <= sizes[-1] // 4
    assert sizes[1] > 2 * sizes[0]


@given(st.integers(0, 2**31))
def test_a_little_is_always_tried(free: int) -> None:
    model = TINY["qwen2_vl"].model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "free_bytes", lambda device: free)
        assert token_budget(model, 1, 2**31) >= MIN_TOKEN_BUDGET
