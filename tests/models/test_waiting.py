"""Prompts are read without waiting for the GPU, so that it has work while the next ones are laid out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pretended_gpu import GPU, OnGpu, Watched, moved
from reference import decoder
from test_graphs import again
from test_ragged import loop
from test_techniques import SOME, questions
from tiny_families import TINY

from evalkit.models import attention, packed
from evalkit.models.base import Unit
from evalkit.models.graphs import AFTER, WORTH
from evalkit.rope.install import install
from evalkit.rope.variants import parse_variant


def waits(name: str, variant: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is waited for, but for the tokens that are fetched, when prompts come in while others are being
    answered, and in a few steps, recorded ones among them.
    """

    def at_once(*args: Any, **kwargs: Any) -> torch.Tensor:
        noted = list(gpu.waits)
        found = loop(*args, **kwargs)
        gpu.waits[:] = noted
        return found

    family = TINY[name]
    model = family.model()
    moved(model)
    for each in (attention, packed):
        monkeypatch.setattr(each, "flash_takes", lambda query: True)
        monkeypatch.setattr(each, "ragged", at_once)
    asked = questions(family, limit=AFTER + WORTH + 4)
    with Watched() as gpu:
        installed = install(model, parse_variant(variant))
        one = decoder(model, installed, family.rules, family.encode, capture=again)
        one.add([Unit((item,), item.prefix) for item in family.prompts])
        gpu.waits.clear()
        one.add([Unit(tuple(asked), asked[0].prefix)])
        for _ in range(AFTER + 4):
            one.step()
        assert one.stats.counts["graphs"] > 0
        return list(gpu.waits)


def test_the_pretended_gpu_notes_what_is_waited_for() -> None:
    with Watched() as gpu:
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        for harmless in (
            lambda: there + 1,
            lambda: there[1:],
            lambda: there[torch.zeros(1, dtype=torch.long).pin_memory().to(GPU, non_blocking=True)],
            lambda: there.to(torch.bfloat16),
            lambda: there.to("cpu", non_blocking=True),
        ):
            harmless()
        assert gpu.waits == []
        for number, waiting in enumerate(
            (
                lambda: there.tolist(),
                lambda: there.sum().item(),
                lambda: bool(there.any()),
                lambda: there.to("cpu"),
                lambda: here.to("cuda"),
                lambda: here.to(there),
                lambda: torch.tensor([1], device="cuda"),
                lambda: there[there > 0],
                lambda: there[[0, 1]],
                lambda: there[torch.tensor([0])],
                lambda: there.copy_(here),
            )
        ):
            waiting()
            assert len(gpu.waits) == number + 1
        assert isinstance(there, OnGpu)
        assert gpu.waits[0].startswith("tolist in test_the_pretended")


@pytest.mark.parametrize("variant", SOME)
@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "internvl"])
def test_nothing_is_waited_for(name: str, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits(name, variant, monkeypatch) == []


def test_only_transformers_deepstack_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a mask, of which a GPU counts the places."""
    found = waits("qwen3_vl", "mrope-i", monkeypatch)
    assert found
    assert all(each.endswith("_deepstack_process") for each in found)
