"""On a CUDA device: the same answers as on the CPU, whatever the batch. Skipped where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.core.registry import load_task
from evalkit.core.types import Response
from evalkit.data.cache import MediaCache
from evalkit.data.selection import choose_samples
from evalkit.engine.optimizations import Optimizations
from evalkit.engine.scheduler import run_requests
from evalkit.inference.base import PrefixGroup
from evalkit.inference.counters import EngineCounters
from evalkit.models import load_model
from evalkit.runner.requests import build_request
from tools.bench.workloads import Workload, random_model, to_requests

pytestmark = [pytest.mark.gpu, pytest.mark.slow]
VARIANTS = ("vanilla", "mrope", "mrope-i", "mhrope")


@pytest.fixture(scope="module", autouse=True)
def _cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, Any]]:
    cache = MediaCache(tmp_path_factory.mktemp("media"))
    tasks = [load_task(name) for name in ("mini_docvqa", "mini_refcoco", "mini_video")]
    return [(task, each.sample) for task in tasks for each in choose_samples(task.samples(None), 8, cache)]


def answers(
    samples: list[tuple[Any, Any]], rope: str, device: str, dtype: str, size: int | None
) -> list[str]:
    model = load_model("tiny", rope=rope, dtype=dtype, device=device)
    requests = [build_request(model.info, task, sample) for task, sample in samples]
    found: dict[str, Response] = {}

    def note(responses: list[Response]) -> None:
        found.update({response.key: response for response in responses})

    run_requests(model, requests, on_batch=note, workers=0, batch_size=size)
    assert not [response.error for response in found.values() if response.error]
    return [found[request.key].text for request in requests]


@pytest.mark.parametrize("rope", VARIANTS)
def test_float32_answers_are_those_of_the_cpu_in_any_batch(samples: list[Any], rope: str) -> None:
    expected = answers(samples, rope, "cpu", "float32", 1)
    for size in (1, 4, None):
        assert answers(samples, rope, "cuda", "float32", size) == expected


@pytest.mark.parametrize("rope", VARIANTS)
def test_bfloat16_answers_seldom_depend_on_the_batch(samples: list[Any], rope: str) -> None:
    single = answers(samples, rope, "cuda", "bfloat16", 1)
    together = answers(samples, rope, "cuda", "bfloat16", None)
    assert sum(a != b for a, b in zip(single, together, strict=True)) <= len(single) // 10


def test_captured_steps_give_the_same_answers(tmp_path: Path) -> None:
    """Answers long enough for steps to be captured, and again when sequences have left."""
    name = random_model("random:qwen2_5_vl", tmp_path)
    model = load_model(name, dtype="float32", device="cuda")
    questions = Workload(media=6, questions=2, size=(224, 168), new_tokens=150).generate(tmp_path)
    requests = [
        replace(each, max_new_tokens=each.max_new_tokens - 10 * number)
        for number, each in enumerate(to_requests(model.info, questions))
    ]
    found = []
    for optimizations in (Optimizations(), Optimizations.without("graphs")):
        responses: list[Response] = []
        stats = EngineCounters()
        run_requests(
            model, requests, on_batch=responses.extend, workers=0, optimizations=optimizations, stats=stats
        )
        found.append({response.key: response.token_ids for response in responses})
        assert (stats.counts["graphs"] > 0) == optimizations.graphs
    assert found[0] == found[1]
    assert len(found[0]) == len(requests)


def test_prefill_does_not_wait(tmp_path: Path) -> None:
    """PyTorch itself says whether adding prompts waits for the device."""
    import torch

    name = random_model("random:qwen2_5_vl", tmp_path)
    model = load_model(name, dtype="bfloat16", device="cuda")
    questions = Workload(media=8, questions=1, size=(448, 336), new_tokens=4).generate(tmp_path)
    items = [model.info.preprocessor.prepare(request) for request in to_requests(model.info, questions)]
    prefix_groups = [PrefixGroup((item,), item.prefix) for item in items]
    decoder = model.decoder()
    found = decoder.add(prefix_groups[:4])
    torch.cuda.set_sync_debug_mode("error")
    try:
        found += decoder.add(prefix_groups[4:])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    while decoder.running:
        found += decoder.step()
    assert len(found) == len(items)
