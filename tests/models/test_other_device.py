"""Nothing stays behind on the CPU where a model lies elsewhere: the engine on a pretended GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_gpu import GPU, FakeGpu, FakeGpuTensor, to_fake_gpu
from test_cuda_graphs import again
from test_optimizations import SOME, questions
from tiny_families import TINY
from transformers_reference import decoder

from evalkit.core.registry import load_task
from evalkit.data.cache import MediaCache
from evalkit.data.selection import choose_samples
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import ModelSpec
from evalkit.engine.executors.local import LocalExecutor
from evalkit.inference import memory
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.models import hf_model
from evalkit.models.base import LoadConfig
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant
from evalkit.runner.requests import build_request


def test_the_pretended_gpu_is_as_strict_as_a_real_one() -> None:
    with FakeGpu():
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
        assert not isinstance(there.to("cpu") + here, FakeGpuTensor)
        assert isinstance(there + here.to(there), FakeGpuTensor)


def answered(name: str, variant: str, dtype: torch.dtype, *, on_gpu: bool) -> dict[str, Any]:
    family = TINY[name]
    model = family.model()
    for parameter in model.parameters():  # not the rotary spectrum, as in loading with a dtype
        parameter.data = parameter.data.to(dtype)
    if on_gpu:
        to_fake_gpu(model)
    installed = install(model, parse_variant(variant))
    asked = questions(family, limit=40)
    prefix_groups = [PrefixGroup(tuple(asked), asked[0].prefix)]
    prefix_groups += [PrefixGroup((item,), item.prefix) for item in family.prompts]
    capture = again if on_gpu else None
    found = generate_all(
        decoder(model, installed, family.generation_tokens, family.encode, capture=capture), prefix_groups
    )
    return {item.key: (generation.token_ids, generation.margin) for item, generation in found}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("variant", SOME)
@pytest.mark.parametrize("name", TINY)
def test_answers_are_those_of_the_cpu(name: str, variant: str, dtype: torch.dtype) -> None:
    with FakeGpu():
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
            to_fake_gpu(model)
        return model

    monkeypatch.setattr(hf_model, "_device", torch.device)
    monkeypatch.setattr(torch.nn.Module, "to", to)
    for module in (hf_model, memory):
        monkeypatch.setattr(module, "free_bytes", lambda device: 1 << 33)
    with FakeGpu():
        yield


@pytest.mark.parametrize("settings", [EngineConfig(workers=0), EngineConfig(workers=0, batch_size=3)])
def test_a_run_of_two_variants_side_by_side(gpu: None, settings: EngineConfig, tmp_path: Path) -> None:
    there, here = (side_by_side(device, settings, tmp_path) for device in ("cuda:0", "cpu"))
    assert {key: answer[0] for key, answer in there.items()} == {key: each[0] for key, each in here.items()}
    for key, (_, margin) in there.items():  # the tower is shown more at a time
        assert margin == pytest.approx(here[key][1], abs=1e-3)


def side_by_side(device: str, settings: EngineConfig, folder: Path) -> dict[Any, Any]:
    cache = MediaCache(folder)
    tasks = [load_task(name) for name in ("mini_chartqa", "mini_refcoco", "mini_video")]
    chosen = [(task, each.sample) for task in tasks for each in choose_samples(task.samples(None), 4, cache)]
    with closing(LocalExecutor()) as executor:
        where = LoadConfig(dtype="float32", device=device)
        model_infos = executor.load(
            [ModelSpec("tiny", rope, where) for rope in ("mrope", "mrope-i")], lockstep=True
        )
        assert len(model_infos) == 2
        assert {next(model.module.parameters()).device for model in executor.models} == {torch.device(device)}
        assert all(len(model.vision_encoder.shared_with) == 2 for model in executor.models), (
            "they share a tower"
        )
        requests = [
            [build_request(model_info, task, sample) for task, sample in chosen] for model_info in model_infos
        ]
        found = [(who, each) for who, batch in executor.generate(requests, settings) for each in batch]
    assert not [each.error for _, each in found if each.error]
    return {(who, each.key): (each.token_ids, each.margin) for who, each in found}
