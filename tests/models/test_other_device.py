"""Nothing stays behind on the CPU where a model lies elsewhere: the engine on a pretended GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from pretended_gpu import GPU, OnGpu, Pretended, moved
from reference import decoder
from test_graphs import again
from test_techniques import SOME, questions
from tiny_families import TINY

from evalkit.data.cache import MediaCache
from evalkit.engine.executors.base import Order
from evalkit.engine.executors.local import Local
from evalkit.engine.run import Settings
from evalkit.models import hf, memory
from evalkit.models.base import Placing, Unit, answer
from evalkit.registry import load_task
from evalkit.requests import build_request, choose
from evalkit.rope.install import install
from evalkit.rope.variants import parse_variant


def test_the_pretended_gpu_is_as_strict_as_a_real_one() -> None:
    with Pretended():
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        assert there.device == GPU
        assert (2 * there).sum().item() == 6
        assert there[torch.tensor([0])].is_cuda
        for mixed in (
            lambda: there + here,
            lambda: torch.cat([there, here]),
            lambda: torch.nn.functional.linear(there[None], here[None]),
            lambda: here[there.long()],
        ):
            with pytest.raises(RuntimeError, match="one device"):
                mixed()
        with pytest.raises(TypeError, match="NumPy"):
            there.numpy()
        assert not isinstance(there.to("cpu") + here, OnGpu)
        assert isinstance(there + here.to(there), OnGpu)


def answered(name: str, variant: str, dtype: torch.dtype, *, on_gpu: bool) -> dict[str, Any]:
    family = TINY[name]
    model = family.model()
    for parameter in model.parameters():  # not the rotary spectrum, as in loading with a dtype
        parameter.data = parameter.data.to(dtype)
    if on_gpu:
        moved(model)
    installed = install(model, parse_variant(variant))
    asked = questions(family, limit=40)
    units = [Unit(tuple(asked), asked[0].prefix)]
    units += [Unit((item,), item.prefix) for item in family.prompts]
    capture = again if on_gpu else None
    found = answer(decoder(model, installed, family.rules, family.encode, capture=capture), units)
    return {item.key: (generation.token_ids, generation.margin) for item, generation in found}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("variant", SOME)
@pytest.mark.parametrize("name", TINY)
def test_answers_are_those_of_the_cpu(name: str, variant: str, dtype: torch.dtype) -> None:
    with Pretended():
        found = answered(name, variant, dtype, on_gpu=True)
    expected = answered(name, variant, dtype, on_gpu=False)
    different = [key for key, (ids, _) in found.items() if ids != expected[key][0]]
    if dtype == torch.bfloat16:  # a GPU sums over some columns more, all of them hidden
        assert len(different) <= len(expected) // 3
        return
    assert not different
    for key, (_, margin) in found.items():
        assert margin == pytest.approx(expected[key][1], abs=1e-4)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def to(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        if device == GPU:
            moved(model)
        return model

    monkeypatch.setattr(hf, "_device", torch.device)
    monkeypatch.setattr(torch.nn.Module, "to", to)
    for module in (hf, memory):
        monkeypatch.setattr(module, "free_bytes", lambda device: 1 << 33)
    with Pretended():
        yield


@pytest.mark.parametrize("settings", [Settings(workers=0), Settings(workers=0, batch_size=3)])
def test_a_run_of_two_variants_side_by_side(gpu: None, settings: Settings, tmp_path: Path) -> None:
    there, here = (side_by_side(device, settings, tmp_path) for device in ("cuda:0", "cpu"))
    assert {key: answer[0] for key, answer in there.items()} == {key: each[0] for key, each in here.items()}
    for key, (_, margin) in there.items():  # the tower is shown more at a time
        assert margin == pytest.approx(here[key][1], abs=1e-3)


def side_by_side(device: str, settings: Settings, folder: Path) -> dict[Any, Any]:
    cache = MediaCache(folder)
    tasks = [load_task(name) for name in ("mini_chartqa", "mini_refcoco", "mini_video")]
    chosen = [(task, each.sample) for task in tasks for each in choose(task.samples(None), 4, cache)]
    with closing(Local()) as executor:
        where = Placing("float32", device)
        cards = executor.load([Order("tiny", rope, where) for rope in ("mrope", "mrope-i")], lockstep=True)
        assert len(cards) == 2
        assert {next(model.module.parameters()).device for model in executor.models} == {torch.device(device)}
        assert all(len(model.vision.circle) == 2 for model in executor.models), "they share a tower"
        requests = [[build_request(card, task, sample) for task, sample in chosen] for card in cards]
        found = [(who, each) for who, batch in executor.answers(requests, settings) for each in batch]
    assert not [each.error for _, each in found if each.error]
    return {(who, each.key): (each.token_ids, each.margin) for who, each in found}
