"""The greedy choice of tokens, from logits that are given."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_qwen import prompt
from torch import nn

from evalkit.inference.sampler import select_tokens
from evalkit.inference.sequence import SequenceState

INF = float("inf")


def selected(
    logits: list[list[float]], dtype: torch.dtype, choices: tuple[int, ...] = (), banned: tuple[int, ...] = ()
) -> list[list[object]]:
    head = nn.Linear(len(logits[0]), len(logits[0]), bias=False, dtype=dtype)
    head.weight = nn.Parameter(torch.eye(len(logits[0]), dtype=dtype), requires_grad=False)
    item = replace(prompt("a", 3, limit=9), choices=choices)
    sequences = [SequenceState(item, torch.zeros(3)) for _ in logits]
    return select_tokens(head, torch.tensor(logits, dtype=dtype), sequences, banned).wait()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_likeliest_token_and_its_margin(dtype: torch.dtype) -> None:
    tokens, margins, finite = selected([[1.0, 4.0, 2.5, 0.0], [3.0, 0.5, 3.0, 1.0]], dtype)
    assert tokens == [1, 0], "of equals, the lowest id"
    assert margins == [1.5, 0.0]
    assert finite == [True, True]


def test_banned_tokens_and_choices() -> None:
    logits = [[1.0, 4.0, 2.5, 0.0]]
    assert selected(logits, torch.float32, banned=(1,))[:2] == [[2], [1.5]]
    assert selected(logits, torch.float32, choices=(0, 3))[:2] == [[0], [1.0]]


def test_logits_that_are_not_finite_are_told_apart() -> None:
    # Through a weight of zeros and ones, one bad number makes every logit of its sequence NaN.
    assert selected([[1.0, INF, 0.0], [1.0, 2.0, 0.0]], torch.float32)[2] == [False, True]
