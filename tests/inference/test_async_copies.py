"""Prefill and decode steps don't wait for the GPU, so that it is busy while the next call is laid out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fake_gpu import GPU, FakeGpuTensor, SyncDetector, to_fake_gpu
from test_cuda_graphs import again
from test_optimizations import SOME, questions
from test_varlen_attention import loop
from tiny_families import TINY
from transformers_reference import decoder

from evalkit.inference import attention, prefill
from evalkit.inference.base import PrefixGroup
from evalkit.inference.cuda_graphs import CAPTURE_AFTER_STEPS, MIN_STEPS_LEFT
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant


def waits(name: str, variant: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Calls that wait for the GPU, apart from fetching tokens, when prompts are added to running ones, and in
    a few steps, captured ones among them.
    """

    def at_once(*args: Any, **kwargs: Any) -> torch.Tensor:
        noted = list(gpu.waits)
        found = loop(*args, **kwargs)
        gpu.waits[:] = noted
        return found

    family = TINY[name]
    model = family.model()
    to_fake_gpu(model)
    for each in (attention, prefill):
        monkeypatch.setattr(each, "flash_supports", lambda query: True)
        monkeypatch.setattr(each, "varlen_attention", at_once)
    asked = questions(family, limit=CAPTURE_AFTER_STEPS + MIN_STEPS_LEFT + 4)
    with SyncDetector() as gpu:
        installed = install(model, parse_variant(variant))
        one = decoder(model, installed, family.generation_tokens, family.encode, capture=again)
        one.add([PrefixGroup((item,), item.prefix) for item in family.prompts])
        gpu.waits.clear()
        one.add([PrefixGroup(tuple(asked), asked[0].prefix)])
        for _ in range(CAPTURE_AFTER_STEPS + 4):
            one.step()
        assert one.stats.counts["graphs"] > 0
        return list(gpu.waits)


def test_the_fake_gpu_lists_what_waits() -> None:
    with SyncDetector() as gpu:
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
        assert isinstance(there, FakeGpuTensor)
        assert gpu.waits[0].startswith("tolist in test_the_fake")


@pytest.mark.parametrize("variant", SOME)
@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "internvl"])
def test_nothing_is_waited_for(name: str, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits(name, variant, monkeypatch) == []


def test_only_transformers_deepstack_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It indexes by a mask, whose true entries a GPU must count."""
    found = waits("qwen3_vl", "mrope-i", monkeypatch)
    assert found
    assert all(each.endswith("_deepstack_process") for each in found)
