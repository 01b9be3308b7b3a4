"""Logits that are not finite are an error of their sample, wherever they come up, and of no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_cuda_graphs import again
from test_optimizations import new, put, questions
from tiny_families import TINY
from tiny_qwen import save_checkpoint
from transformers_reference import generate

from evalkit.core.types import Generation, Request, Response, Text
from evalkit.engine.scheduler import run_requests
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.inference.sampler import are_finite
from evalkit.models import describe_model
from evalkit.models.base import LoadConfig
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant

NAMES = ("qwen2_5_vl", "internvl")
UNTIED = ("qwen2_5_vl", "qwen2_vl")
"""Models whose output layer has weights of its own."""
BAD = (float("nan"), float("inf"), -float("inf"))
LETTERS = tuple(b"ABCD")


def spoilt(name: str, change: Callable[[Any], None]) -> tuple[Any, Any]:
    """A tiny model with some weights changed."""
    model = TINY[name].model()
    with torch.no_grad():
        change(model)
    return model, install(model, parse_variant("mhrope"))


@pytest.mark.parametrize("bad", BAD)
def test_every_row_is_looked_at_by_itself(bad: float) -> None:
    logits = torch.randn(4, 100)
    logits[1, 17] = bad
    logits[3] = bad
    assert are_finite(logits).tolist() == [True, False, True, False]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("choices", [(), LETTERS], ids=["generated", "mc-logits"])
@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_s_logits(name: str, choices: tuple[int, ...], bad: float) -> None:
    """One weight of one token that nobody asks about is enough: the numbers can't be trusted."""

    def change(model: Any) -> None:
        model.lm_head.weight[200, 3] = bad

    model, installed = spoilt(name, change)
    family = TINY[name]
    items = [replace(item, choices=choices) for item in family.prompts]
    for found in generate(model, installed, items, family.generation_tokens, family.encode):
        assert found.finish_reason == "error"
        assert (found.text, found.token_ids) == ("", ())
        assert "logits of token 1 of its answer are not finite in float32" in str(found.error)


def answered(name: str, model: Any, installed: Any, capture: Any = None) -> dict[str, Generation]:
    """Prompts that have nothing in common, together."""
    items = [replace(item, max_new_tokens=40) for item in TINY[name].prompts]
    one = new(name, model, installed, capture=capture)
    return {
        item.key: found
        for item, found in generate_all(one, [PrefixGroup((item,), item.prefix) for item in items])
    }


@pytest.mark.parametrize("capture", [None, again], ids=["step by step", "recorded"])
@pytest.mark.parametrize("name", UNTIED)
def test_a_step_s_logits_end_that_answer_and_no_other(name: str, capture: Any) -> None:
    _, model, installed = put(name, "mhrope")
    expected = answered(name, model, installed)
    # A token that some answers have and others don't; from it on, nothing is finite.
    token = next(
        token
        for found in expected.values()
        for token in found.token_ids[3:]
        if any(token not in other.token_ids for other in expected.values())
        and not any(token in item.input_ids for item in TINY[name].prompts)
    )

    def change(broken: Any) -> None:
        broken.get_input_embeddings().weight[token] = float("nan")

    model, installed = spoilt(name, change)
    found = answered(name, model, installed, capture)
    hit = [key for key, each in expected.items() if token in each.token_ids[:-1]]
    assert hit
    assert len(hit) < len(expected)
    for key, each in expected.items():
        if key in hit:
            place = each.token_ids.index(token) + 2
            assert f"token {place} of its answer" in str(found[key].error)
            assert found[key].finish_reason == "error"
        else:
            assert (found[key].token_ids, found[key].finish_reason) == (each.token_ids, each.finish_reason)


def test_a_prompt_that_makes_them_is_an_error_among_others(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m")
    clean = describe_model(str(folder), load_config=LoadConfig(device="cpu")).load()
    broken = describe_model(str(folder), load_config=LoadConfig(device="cpu")).load()
    with torch.no_grad():
        (token,) = broken.info.processor.tokenizer.encode("Z")
        broken.module.get_input_embeddings().weight[token] = float("nan")
    texts = ("What?", "Who is it?", "Z is it?", "Where?")
    expected, found = (ask(model, texts) for model in (clean, broken))
    assert found["2"].finish_reason == "error"
    assert found["2"].text == ""
    assert "not finite in float32" in str(found["2"].error)
    for key in "013":
        if token not in expected[key].token_ids:
            assert (found[key].text, found[key].finish_reason) == (
                expected[key].text,
                expected[key].finish_reason,
            )


def test_what_is_shared_is_begun_anew_alone() -> None:
    """Keys and values of questions about the same media lie side by side: what is not finite spreads from one
    to the others. Each is tried by itself before it is an error.
    """
    name = "qwen2_5_vl"
    family, model, installed = put(name, "mhrope")
    asked = questions(family, limit=12)
    alone = {
        item.key: generate(model, installed, [item], family.generation_tokens, family.encode)[0]
        for item in asked
    }
    tokens = {key: set(each.token_ids[:-1]) for key, each in alone.items()}
    victim, token = next(
        (key, token)
        for key, own in tokens.items()
        for token in own
        if not any(token in other for each, other in tokens.items() if each != key)
        and not any(token in item.input_ids for item in asked)
    )

    def change(broken: Any) -> None:
        broken.get_input_embeddings().weight[token] = float("nan")

    model, installed = spoilt(name, change)
    found = run(model, installed, asked)
    for key, each in alone.items():
        if key == victim:
            assert found[key].finish_reason == "error"
        else:
            assert found[key].token_ids == each.token_ids


def run(model: Any, installed: Any, asked: list[Any]) -> dict[str, Response]:
    """Through the engine, which puts questions about the same media together."""
    from evalkit.engine.optimizations import Optimizations
    from evalkit.engine.planner import Budget
    from evalkit.engine.scheduler import Scheduler
    from evalkit.inference.counters import EngineCounters

    class Put:
        def decoder(self, stats: EngineCounters, **ways: Any) -> Any:
            return new("qwen2_5_vl", model, installed)

    engine = Scheduler(
        model=Put(),  # type: ignore[arg-type]
        budget=Budget(None, 8),
        optimizations=Optimizations(),
        stats=EngineCounters(),
        incoming=iter([[((item.key,), item) for item in asked]]),
    )
    return {each.key: each for batch in engine.step_loop() for each in batch}


def ask(model: Any, texts: tuple[str, ...]) -> dict[str, Response]:
    found: list[Response] = []
    requests = [
        Request(
            key=str(number),
            task="t",
            sample_id=str(number),
            prompt=model.info.render([Text(text)]),
            media=(),
            max_new_tokens=12,
        )
        for number, text in enumerate(texts)
    ]
    run_requests(model, requests, on_batch=found.extend, workers=0)
    return {each.key: each for each in found}


def test_float16_is_told_to_try_bfloat16(tmp_path: Path) -> None:
    """Activations beyond 65,504 are infinite in float16, and weights that bfloat16 holds make them."""
    folder = save_checkpoint(tmp_path / "m")
    model = describe_model(str(folder), load_config=LoadConfig(device="cpu", dtype="float16")).load()
    with torch.no_grad():
        for layer in model.module.model.language_model.layers:
            layer.mlp.down_proj.weight.fill_(6e4)
    (found,) = ask(model, ("What?",)).values()
    assert found.finish_reason == "error"
    assert "are not finite in float16; try `--dtype bfloat16`" in str(found.error)
