"""vLLM itself, where `make vllm` has made its environment: our own engine's tokens, in float32 on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.core.sampling_params import SamplingParams
from evalkit.integrations.vllm import system
from evalkit.models.base import LoadConfig
from evalkit.models.conformance.tested_family import TestedFamily, TestPrompt

pytestmark = pytest.mark.slow

SAMPLED = SamplingParams(1.2, top_p=0.95, top_k=50, presence_penalty=0.5, seed=3)


def drawn(prompts: list[TestPrompt], tokens: int) -> Iterator[TestPrompt]:
    """The prompts, twice each, with answers that are drawn."""
    for each in prompts:
        for number in range(2):
            name = f"{each.name}, drawn {number}"
            draws = SAMPLED.draws("test", each.name, number)
            item = replace(each.prepared, key=name, draws=draws, max_new_tokens=tokens)
            yield replace(each, name=name, prepared=item)


def reasoning(each: TestPrompt) -> TestPrompt:
    """The prompt, its reasoning opened and with a budget of three tokens."""
    name = f"{each.name}, reasoning"
    item = replace(each.prepared, key=name, prompt="Q<think>\n", reasoning_tokens=3)
    return replace(each, name=name, prepared=item)


# The most that one model can show: a rotation for each head, features for several layers, frames between
# timestamps. `docs/engine.md` says what was run beside it.
@pytest.mark.parametrize(("name", "variant"), [("qwen3_vl", "mhrope")])
def test_answers_are_token_identical(name: str, variant: str, vllm_python: str, tmp_path: Path) -> None:
    """Images, videos, several media and none, greedy, drawn and with a budget of reasoning: in one batch,
    read in pieces; from vLLM's caches, in another order; each alone.
    """
    family = TestedFamily(name, tmp_path / name)
    model = family.with_variant(variant)
    prompts = [*family.prompts, *drawn(family.prompts, tokens=16), reasoning(family.prompts[0])]
    expected = family.answers(model, prompts)
    assert len({*map(tuple, expected)}) > len(family.prompts)
    assert len(expected[-1]) == 3
    served = loaded(family, variant, vllm_python, max_num_batched_tokens=64)
    try:
        asked: Any = served
        assert family.answers(asked, prompts) == expected
        assert family.answers(asked, prompts[::-1]) == expected[::-1]
        served.forget()
        assert [family.answers(asked, [each])[0] for each in prompts] == expected
    finally:
        served.close()


def loaded(family: TestedFamily, variant: str, python: str, **arguments: Any) -> system.VllmModel:
    where = LoadConfig(
        dtype="float32",
        max_frames=4,
        draws=True,
        engine="vllm",
        vllm_python=python,
        engine_args=tuple(arguments.items()),
    )
    return system.describe(str(family.checkpoint), variant, where).load()
