"""Captured decode steps, with a capture that replays by doing the work again."""

from __future__ import annotations

from typing import Any

import pytest
from test_optimizations import SOME, new, put, questions, texts

from evalkit.inference.base import PrefixGroup
from evalkit.inference.cuda_graphs import CAPTURE_AFTER_STEPS, STEPS_PER_CAPTURE, StepFn
from evalkit.inference.decoder import HfDecoder

LIMIT = 2 * STEPS_PER_CAPTURE


def again(work: StepFn) -> StepFn:
    return work


def uncapturable(work: StepFn) -> StepFn:
    raise RuntimeError("operation not permitted when stream is capturing")


def answered(name: str, variant: str, capture: Any) -> tuple[dict[str, Any], HfDecoder]:
    """Questions that share media and others, which enter while the first are being answered."""
    family, model, installed = put(name, variant)
    asked = questions(family, limit=LIMIT)
    one = new(name, model, installed, capture=capture)
    found = texts(one.add([PrefixGroup(tuple(asked), asked[0].prefix)]))
    for _ in range(CAPTURE_AFTER_STEPS + 3):
        found |= texts(one.step() if one.running else [])
    found |= texts(one.add([PrefixGroup((item,), item.prefix) for item in family.prompts]))
    while one.running:
        found |= texts(one.step())
    return found, one


@pytest.mark.parametrize("variant", SOME)
@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "internvl"])
def test_captured_steps_give_the_same_answers(name: str, variant: str) -> None:
    expected, _ = answered(name, variant, None)
    found, used = answered(name, variant, again)
    assert found == expected
    counts = used.stats.counts
    assert 2 <= counts["graphs"] < counts["steps"] / 2
    assert used._graph_runner._captured is None, "memory is given back"


def test_what_can_t_be_captured_is_launched() -> None:
    expected, _ = answered("qwen2_5_vl", "mrope", None)
    with pytest.warns(UserWarning, match="without CUDA graphs: operation not permitted"):
        found, used = answered("qwen2_5_vl", "mrope", uncapturable)
    assert found == expected
    assert used.stats.counts["graphs"] == 0
