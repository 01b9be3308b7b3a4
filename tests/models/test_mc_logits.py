"""`--mc-logits`: the likeliest of the options' letters, from the prompt's forward pass alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_family_loading import save
from tiny_families import TINY
from tiny_qwen import EOS
from transformers_reference import generate, prefill

from evalkit.core.types import Generation, Prepared, Request, Response, Text
from evalkit.engine.scheduler import run_requests
from evalkit.inference.counters import EngineCounters
from evalkit.models import describe_model
from evalkit.models.base import LoadConfig
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant

LETTERS = tuple(b"ABCD")


@cache
def put(name: str) -> tuple[Any, Any]:
    model = TINY[name].model()
    return model, install(model, parse_variant("mhrope"))


def answers(name: str, items: Sequence[Prepared]) -> list[Generation]:
    model, installed = put(name)
    return generate(model, installed, items, TINY[name].generation_tokens, TINY[name].encode)


@cache
def logits(name: str) -> torch.Tensor:
    """Of the token after each prompt ``[prompts, vocabulary]``, by transformers' own call."""
    family, (model, installed) = TINY[name], put(name)
    found = []
    with torch.inference_mode():
        for item in family.prompts:
            _, inputs = prefill(model, installed, [item], family.generation_tokens, family.media_inputs)
            found.append(model(**inputs, use_cache=False).logits[0, -1])
    return torch.stack(found)


@pytest.mark.parametrize("name", TINY)
def test_the_likeliest_letter_is_the_answer(name: str) -> None:
    asked = [replace(item, choices=LETTERS) for item in TINY[name].prompts]
    found = answers(name, asked)
    among = logits(name)[:, list(LETTERS)].double()
    assert [each.token_ids for each in found] == [(LETTERS[best],) for best in among.argmax(dim=1)]
    assert {each.finish_reason for each in found} == {"stop"}
    first, second = among.topk(2, dim=1).values.T
    assert [each.margin for each in found] == pytest.approx((first - second).tolist(), abs=1e-4)


@pytest.mark.parametrize("name", TINY)
def test_it_equals_greedy_generation_exactly_if_that_begins_with_a_letter(name: str) -> None:
    family = TINY[name]
    greedy = [each.token_ids[0] if each.token_ids else EOS for each in answers(name, family.prompts)]
    # Letters one of which generation begins with, and letters none of which it does.
    begun = answers(
        name,
        [
            replace(item, choices=(*LETTERS, first))
            for item, first in zip(family.prompts, greedy, strict=True)
        ],
    )
    assert [each.token_ids[0] for each in begun] == greedy
    others = [tuple(each for each in LETTERS if each != first) for first in greedy]
    apart = answers(
        name, [replace(item, choices=own) for item, own in zip(family.prompts, others, strict=True)]
    )
    assert all(each.token_ids[0] != first for each, first in zip(apart, greedy, strict=True))


@given(st.sets(st.sampled_from(range(256)), min_size=1, max_size=8), st.integers(0, 5))
def test_choices_compete_with_nothing_else(choices: set[int], number: int) -> None:
    item = replace(TINY["qwen3_vl"].prompts[number], choices=tuple(sorted(choices)))
    (found,) = answers("qwen3_vl", [item])
    own = logits("qwen3_vl")[number]
    (chosen,) = found.token_ids
    assert chosen in choices
    assert float(own[chosen]) >= float(own[list(choices)].max()) - 1e-4
    assert (found.margin == float("inf")) == (len(choices) == 1)


def test_of_equal_letters_the_lowest_wins() -> None:
    model, installed = TINY["qwen3_vl"].model(), None
    with torch.no_grad():
        model.lm_head.weight[list(LETTERS)] = model.lm_head.weight[LETTERS[2]].clone()
    installed = install(model, parse_variant("mrope"))
    family = TINY["qwen3_vl"]
    item = replace(family.prompts[0], choices=tuple(reversed(LETTERS)))
    (found,) = generate(model, installed, [item], family.generation_tokens, family.encode)
    assert found.token_ids == (LETTERS[0],)
    assert found.margin == 0


def test_letters_share_company_with_answers_in_full() -> None:
    items = [
        replace(item, choices=LETTERS if number % 2 else ())
        for number, item in enumerate(TINY["qwen2_vl"].prompts)
    ]
    together = answers("qwen2_vl", items)
    assert [each.token_ids for each in together] == [
        answers("qwen2_vl", [item])[0].token_ids for item in items
    ]


def test_a_checkpoint_answers_with_a_letter_and_never_decodes(tmp_path: Path) -> None:
    model = describe_model(str(save(tmp_path / "m", "qwen3_vl")), load_config=LoadConfig(device="cpu")).load()
    prompt = model.info.render([Text("Which?\nA. one\nB. two")])
    stats, found = EngineCounters(), list[Response]()
    choices = [("A", "B"), ("ten", "B")]
    requests = [
        Request(
            key=str(number),
            task="t",
            sample_id=str(number),
            prompt=prompt,
            media=(),
            max_new_tokens=1,
            choices=own,
        )
        for number, own in enumerate(choices)
    ]
    run_requests(model, requests, on_batch=found.extend, workers=0, stats=stats)
    responses = {each.key: each for each in found}
    assert responses["0"].text in ("A", "B")
    assert responses["0"].finish_reason == "stop"
    assert stats.counts["steps"] == 0
    assert "`ten` is not one token after the prompt" in str(responses["1"].error)
