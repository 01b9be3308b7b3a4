"""Sampling: the distribution is transformers', and a token depends on its sequence and its number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from test_cuda_graphs import again
from test_optimizations import new, put, texts
from tiny_qwen import PROMPTS, prompt
from torch import nn
from transformers.generation.logits_process import (
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from evalkit.core.sampling_params import SamplingParams
from evalkit.core.types import Prepared
from evalkit.inference.base import PrefixGroup
from evalkit.inference.decoder import HfDecoder
from evalkit.inference.sampler import draw_tokens, penalised, select_tokens, warped
from evalkit.inference.sequence import SequenceState

PARAMS = st.builds(
    SamplingParams,
    temperature=st.floats(0.1, 3.0),
    top_p=st.sampled_from([1.0, 0.999, 0.95, 0.8, 0.5, 0.01]),
    top_k=st.sampled_from([0, 1, 2, 5, 20, 64, 1000]),
)


def of_transformers(logits: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """What ``generate`` does to logits, in its order."""
    ids = torch.zeros(len(logits), 1, dtype=torch.long)
    scores = TemperatureLogitsWarper(params.temperature)(ids, logits)
    if params.top_k:
        scores = TopKLogitsWarper(params.top_k)(ids, scores)
    return TopPLogitsWarper(params.top_p)(ids, scores) if params.top_p < 1 else scores


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(PARAMS, min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_warped_logits_are_those_of_transformers(rows: list[SamplingParams], seed: int) -> None:
    logits = torch.randn(len(rows), 64, generator=torch.Generator().manual_seed(seed)) * 4
    ours = warped(logits, rows)
    for own, line, params in zip(ours, logits, rows, strict=True):
        assert torch.equal(own, of_transformers(line[None], params)[0])


def test_ties_and_banned_tokens_are_treated_as_transformers_does() -> None:
    logits = torch.tensor([[2.0, 2.0, 2.0, -torch.inf, 1.0, 0.0]])
    for top_k in (1, 2, 4, 5, 6):
        params = SamplingParams(0.7, top_k=top_k)
        assert torch.equal(warped(logits, [params]), of_transformers(logits, params))


def drawn(params: SamplingParams, logits: list[float], count: int) -> np.ndarray:
    rows = torch.tensor([logits]).expand(count, -1)
    uniforms = [params.draws("t", f"s{number}", 0).uniform(0) for number in range(count)]
    tokens, _ = draw_tokens(rows, [params] * count, torch.tensor(uniforms, dtype=torch.float64))
    return np.bincount(tokens.numpy(), minlength=len(logits))


@pytest.mark.parametrize("params", [SamplingParams(1.0), SamplingParams(0.7, top_p=0.9, top_k=5, seed=3)])
def test_frequencies_are_the_probabilities(params: SamplingParams) -> None:
    logits = [0.3, -1.0, 2.0, 1.1, 0.9, -0.4, 0.0, 1.9]
    wanted = torch.softmax(of_transformers(torch.tensor([logits]), params).double(), -1)[0].numpy()
    found = drawn(params, logits, 20_000)
    assert found[wanted == 0].sum() == 0
    assert chisquare(found[wanted > 0], 20_000 * wanted[wanted > 0]).pvalue > 1e-4


def test_numbers_depend_on_seed_question_repetition_and_step_alone() -> None:
    draws = SamplingParams(1.0, seed=1).draws("task", "sample", 2)
    same = SamplingParams(0.2, top_k=4, seed=1).draws("task", "sample", 2)
    assert [draws.uniform(step) for step in range(50)] == [same.uniform(step) for step in range(50)]
    others = [
        SamplingParams(1.0, seed=2).draws("task", "sample", 2),
        SamplingParams(1.0, seed=1).draws("other", "sample", 2),
        SamplingParams(1.0, seed=1).draws("task", "samples", 2),
        SamplingParams(1.0, seed=1).draws("task", "sample", 3),
    ]
    numbers = [each.uniform(0) for each in [draws, *others]] + [draws.uniform(1)]
    assert len(set(numbers)) == len(numbers)
    many = np.array([draws.uniform(step) for step in range(4000)])
    assert chisquare(np.histogram(many, bins=20, range=(0, 1))[0]).pvalue > 1e-4


@settings(max_examples=60, deadline=None)
@given(params=PARAMS, seed=st.integers(0, 1000), number=st.floats(0, 0.999999))
def test_no_change_smaller_than_half_the_margin_changes_the_token(
    params: SamplingParams, seed: int, number: float
) -> None:
    params = replace(params, top_k=0, top_p=1.0)  # which tokens are kept is taken as given
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 32, generator=generator, dtype=torch.float64) * 3
    uniform = torch.tensor([number], dtype=torch.float64)
    token, margin = draw_tokens(logits, [params], uniform)
    assert margin > 0
    most = 0.49 * float(margin) if margin.isfinite() else 1.0
    signs = torch.randint(0, 2, (20, 32), generator=generator) * 2 - 1
    moved, _ = draw_tokens(logits + most * signs, [params] * 20, uniform.expand(20))
    assert moved.eq(token).all()


def test_the_presence_penalty_counts_a_token_once() -> None:
    params = [SamplingParams(1.0, presence_penalty=1.5), SamplingParams(1.0)]
    found = penalised(torch.zeros(2, 4), params, [[2, 2, 3], [2]])
    assert found.tolist() == [[0, 0, -1.5, -1.5], [0, 0, 0, 0]]


def test_greedy_and_drawn_sequences_share_a_batch() -> None:
    head = nn.Linear(4, 4, bias=False)
    head.weight = nn.Parameter(torch.eye(4), requires_grad=False)
    params = SamplingParams(1.0)
    states = [SequenceState(prompt("a", 3, limit=9), torch.zeros(3))]
    states += [
        SequenceState(replace(prompt("a", 3, limit=9), draws=params.draws("t", str(n), 0)), torch.zeros(3))
        for n in range(200)
    ]
    logits = torch.tensor([[2.0, 1.9, 1.8, 5.0]]).expand(201, -1)
    tokens, margins, finite = select_tokens(head, logits, states, (3,)).wait()
    assert tokens[0] == 0
    assert margins[0] == pytest.approx(0.1)
    assert set(tokens[1:]) == {0, 1, 2}, "banned tokens are never drawn"
    assert all(finite)


def test_logits_that_are_not_finite_end_the_answer_and_nothing_else() -> None:
    rows = torch.tensor([[torch.nan, 1.0], [-torch.inf, -torch.inf], [0.0, 1.0]])
    tokens, _ = draw_tokens(rows, [SamplingParams(1.0, top_k=1, top_p=0.5)] * 3, torch.zeros(3).double())
    assert tokens[2] == 1
    assert all(0 <= token < 2 for token in tokens.tolist())


def sampled(items: Sequence[Prepared], **params: Any) -> list[Prepared]:
    given = SamplingParams(**{"temperature": 1.5, **params})
    return [replace(each, draws=given.draws("t", each.key, 0)) for each in items]


def answers(decoder: HfDecoder, batches: Sequence[Sequence[Prepared]]) -> dict[str, Any]:
    """What is answered, each batch being added two steps after the one before."""
    found: dict[str, Any] = {}
    for items in batches:
        found |= texts(decoder.add([PrefixGroup((each,), each.prefix) for each in items]))
        for _ in range(2):
            found |= texts(decoder.step() if decoder.running else [])
    while decoder.running:
        found |= texts(decoder.step())
    return found


@pytest.mark.parametrize("params", [{}, {"top_p": 0.9, "top_k": 30, "presence_penalty": 1.0}])
def test_the_same_text_whatever_the_batch(params: dict[str, Any]) -> None:
    _, model, installed = put("qwen2_5_vl", "mrope-i")
    items = sampled(PROMPTS, **params)
    alone: dict[str, Any] = {}
    for item in items:
        alone |= answers(new("qwen2_5_vl", model, installed), [[item]])
    assert len(set(map(str, alone.values()))) > 1
    for batches in ([items], [items[::-1]], [items[:3], items[3:5], items[5:]]):
        assert answers(new("qwen2_5_vl", model, installed), batches) == alone
    assert answers(new("qwen2_5_vl", model, installed, capture=again), [items]) == alone
    assert answers(new("qwen2_5_vl", model, installed, deterministic=True), [items]) == alone


def test_a_preempted_answer_comes_out_the_same() -> None:
    _, model, installed = put("qwen2_5_vl", "mrope")
    items = sampled(PROMPTS)
    whole = answers(new("qwen2_5_vl", model, installed), [items])
    decoder = new("qwen2_5_vl", model, installed)
    found = texts(decoder.add([PrefixGroup((each,), each.prefix) for each in items]))
    for _ in range(3):
        found |= texts(decoder.step())
    dropped = decoder.preempt(2)
    assert dropped
    assert found | answers(decoder, [dropped]) == whole


def test_another_seed_gives_other_answers() -> None:
    _, model, installed = put("qwen2_5_vl", "mrope")
    first, second = (
        answers(new("qwen2_5_vl", model, installed), [sampled(PROMPTS, seed=seed)]) for seed in (0, 1)
    )
    assert first != second
