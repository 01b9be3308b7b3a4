"""Tokens that are drawn in vLLM: those of our own sampler, with their margins."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evalkit.core.sampling_params import SamplingParams
from evalkit.inference.sampler import draw_tokens, penalised
from evalkit.integrations.vllm.drawing import LEAST_LEAD, DrawnRow, described_draws, draws_in, leave_drawn
from evalkit.integrations.vllm.server import _margin

PARAMS = st.builds(
    SamplingParams,
    temperature=st.floats(0.1, 3.0),
    top_p=st.sampled_from([1.0, 0.9, 0.01]),
    top_k=st.sampled_from([0, 1, 5, 1000]),
    presence_penalty=st.sampled_from([0.0, 1.5]),
    seed=st.integers(0, 9),
)


def made(size: int, seed: int) -> torch.Tensor:
    logits = torch.randn(size, 24, generator=torch.Generator().manual_seed(seed)) * 4
    logits[:, 7] = -torch.inf  # a token that is never generated
    return logits


def chosen(logits: torch.Tensor) -> tuple[int, float | None]:
    """What greedy decoding takes, and its lead as the server reads it off two logits."""
    best = logits.topk(2).values
    return int(logits.argmax()), _margin(
        {place: SimpleNamespace(logprob=float(x)) for place, x in enumerate(best)}
    )


@given(
    st.dictionaries(
        st.integers(0, 5), st.tuples(PARAMS, st.lists(st.integers(0, 23), max_size=9)), min_size=1
    )
)
def test_greedy_decoding_finds_the_drawn_token_and_its_margin(
    asked: dict[int, tuple[SamplingParams, list[int]]],
) -> None:
    logits = made(6, seed=len(asked))
    rows = {place: DrawnRow(params.draws("t", str(place), 0), ids) for place, (params, ids) in asked.items()}
    left = leave_drawn(logits.clone(), rows)
    for place, own in enumerate(logits):
        if place not in rows:
            assert torch.equal(left[place], own)
            continue
        params, ids = asked[place]
        number = torch.tensor([rows[place].draws.uniform(len(ids))], dtype=torch.float64)
        tokens, margins = draw_tokens(penalised(own[None].clone(), [params], [ids]), [params], number)
        token, margin = chosen(left[place])
        assert token == int(tokens[0])
        wanted = float(margins[0])
        bounded = pytest.approx(max(wanted, LEAST_LEAD), rel=1e-5, abs=2e-6)
        assert margin == (bounded if wanted < torch.inf else -1.0)


def test_rows_that_are_not_finite_stay_for_the_server_to_see() -> None:
    for broken in (torch.nan, torch.inf):
        logits = made(2, seed=0)
        logits[1, 3] = broken
        rows = {place: DrawnRow(SamplingParams(1.0).draws("t", "s", 0), []) for place in range(2)}
        left = leave_drawn(logits, rows)
        assert left[1].tolist()[8:] == logits[1].tolist()[8:]
        assert chosen(left[0])[1] is not None
        assert _margin({0: SimpleNamespace(logprob=float(left[1].max()))}) is None


@given(PARAMS, st.text(), st.integers(0, 3))
def test_draws_arrive_as_they_were_sent(params: SamplingParams, sample: str, repetition: int) -> None:
    draws = params.draws("task", sample, repetition)
    assert draws_in(json.loads(json.dumps(described_draws(draws)))) == draws
