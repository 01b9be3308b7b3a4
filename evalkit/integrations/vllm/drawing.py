"""Tokens that are drawn in vLLM, by our own sampler and our own random numbers.

vLLM's own sampling keeps a random generator for each request, and turns it back by hand where a prompt is
read in pieces: a token may depend on what is asked beside. Ours is a hash over the answer and the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from evalkit.core.sampling_params import Draws, SamplingParams
from evalkit.inference.async_copies import to_device
from evalkit.inference.sampler import draw_tokens, penalised

LEAST_LEAD = 2.0**-20
"""In logits: so much a drawn token is ahead at least, or it might not be the likeliest one."""


@dataclass(frozen=True)
class DrawnRow:
    """How a request's next token is drawn; ``token_ids`` are those that it has, in vLLM's own list."""

    draws: Draws
    token_ids: Sequence[int]


def described_draws(draws: Draws | None) -> dict[str, Any] | None:
    """The sampling of one answer, for JSON."""
    return None if draws is None else {"params": vars(draws.params), "key": draws.key.hex()}


def draws_in(described: Mapping[str, Any]) -> Draws:
    """What :func:`described_draws` describes."""
    return Draws(SamplingParams(**described["params"]), bytes.fromhex(described["key"]))


def leave_drawn(logits: Tensor, rows: Mapping[int, DrawnRow]) -> Tensor:
    """Leave of these rows of ``logits [m, vocabulary]``, float32, the drawn token alone, for greedy decoding
    to find: its logit is its margin (see :func:`~evalkit.inference.sampler.draw_tokens`) and that of one
    other token zero, which is left out where the margin has no bound. A row that isn't finite stays as it is.
    """
    if not rows:
        return logits
    places = sorted(rows)
    each = [rows[place] for place in places]
    index = to_device(torch.tensor(places), logits.device)
    given = logits[index]
    broken = given.isnan().any(dim=1) | (given.amax(dim=1).isinf())
    params = [row.draws.params for row in each]
    uniforms = torch.tensor([row.draws.uniform(len(row.token_ids)) for row in each], dtype=torch.float64)
    own = penalised(given.clone(), params, [row.token_ids for row in each])
    tokens, margins = draw_tokens(own, params, uniforms)
    others = torch.where(tokens == 0, tokens + 1, tokens - 1)
    bounded = margins.isfinite()
    left = torch.full_like(given, -torch.inf)
    floor = torch.where(bounded, 0.0, -torch.inf).to(left)
    left.scatter_(1, others[:, None], floor[:, None])
    lead = torch.where(bounded, margins.clamp(min=LEAST_LEAD), 1.0).to(left)
    left.scatter_(1, tokens[:, None], lead[:, None])
    return logits.index_copy(0, index, torch.where(broken[:, None], given, left))
