"""The sampler: choice of the next token from float32 logits, the likeliest one or drawn at random.

A drawn token depends on its sequence's logits and its own random number alone, never on the batch; nothing
here waits for the GPU, and a captured decode step ends before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from evalkit.core.sampling_params import SamplingParams
from evalkit.inference.async_copies import AsyncHostCopy, to_device
from evalkit.inference.sequence import SequenceState


def select_tokens(
    head: Any, hidden: Tensor, sequences: Sequence[SequenceState], banned_token_ids: Sequence[int]
) -> AsyncHostCopy:
    """For each sequence the likeliest token (of equals, the lowest id) or the drawn one, its margin (see
    :func:`draw_tokens`; of the likeliest, that over the next one), and whether all its logits are finite. A
    sequence with ``choices`` gets the likeliest of these.

    ``head``: the language model's head; ``hidden [m, hidden]``: states after the last token of each, and
    beyond them padding.
    """
    logits = _logits(head, hidden.to(head.weight.device))  # a model may be spread over devices
    logits = logits[: len(sequences)]
    finite = are_finite(logits)
    banned = torch.tensor(banned_token_ids, dtype=torch.long)
    logits.index_fill_(1, to_device(banned, logits.device), -torch.inf)
    for own, sequence in zip(logits, sequences, strict=True):
        if sequence.item.choices:
            ids = to_device(torch.tensor(sequence.item.choices), logits.device)
            among = own[ids]
            own.fill_(-torch.inf)
            own[ids] = among
    best = logits.argmax(dim=-1, keepdim=True)
    highest = logits.gather(1, best)
    margins = highest - logits.scatter(1, best, -torch.inf).amax(dim=-1, keepdim=True)
    tokens, margins = best[:, 0], margins[:, 0]
    drawn = [place for place, sequence in enumerate(sequences) if sequence.item.draws is not None]
    if drawn:
        rows = to_device(torch.tensor(drawn), logits.device)
        params, uniforms = zip(*(_draw_of(sequences[place]) for place in drawn), strict=True)
        own = penalised(logits[rows], params, [sequences[place].token_ids for place in drawn])
        found = draw_tokens(own, params, torch.tensor(uniforms, dtype=torch.float64))
        tokens = tokens.index_copy(0, rows, found[0])
        margins = margins.index_copy(0, rows, found[1].to(margins.dtype))
    return AsyncHostCopy(tokens, margins, finite)


def draw_tokens(logits: Tensor, params: Sequence[SamplingParams], uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Draw a token for each row of ``logits [m, vocabulary]`` by its parameters and its number in [0, 1).

    The token is the one in whose share of the probabilities, summed up in the order of ids, the number lies:
    so a difference of rounding in the logits moves the ends of shares by as little, whatever the order of the
    likeliest tokens.

    Returns:
        The tokens ``[m]``, and their margins ``[m]`` in logits: no change of every logit by less than half of
        it moves the number out of the token's share (which tokens top-k and top-p keep is taken as given).
    """
    kept = warped(logits, params)
    ends = torch.softmax(kept.double(), dim=-1).cumsum(dim=-1)
    total = ends[:, -1:]
    # The number times the total may round up to the total.
    target = to_device(uniforms, logits.device)[:, None].clamp(max=1 - 2.0**-40) * total
    tokens = torch.searchsorted(ends, target, right=True)
    tokens = tokens.clamp(max=logits.shape[-1] - 1)  # of logits that aren't finite, whose answer fails
    upper = ends.gather(1, tokens)
    lower = torch.where(tokens > 0, ends.gather(1, (tokens - 1).clamp(min=0)), torch.zeros_like(upper))
    # The outermost ends don't move. A change of all logits by d moves an end by d / 2 at most.
    below = torch.where(lower > 0, target - lower, torch.inf)
    above = torch.where(upper < total, upper - target, torch.inf)
    temperatures = to_device(torch.tensor([each.temperature for each in params]), logits.device)
    return tokens[:, 0], 4 * temperatures * torch.minimum(below, above)[:, 0]


def warped(logits: Tensor, params: Sequence[SamplingParams]) -> Tensor:
    """Logits ``[m, vocabulary]`` divided by the temperature, and minus infinity for what top-k and, after it,
    top-p leave out: as transformers' ``TemperatureLogitsWarper``, ``TopKLogitsWarper`` and
    ``TopPLogitsWarper`` do, in ``generate``'s order.
    """
    device, size = logits.device, logits.shape[-1]
    temperatures = to_device(torch.tensor([each.temperature for each in params]), device)
    scores = logits / temperatures[:, None]
    most = [min(each.top_k or size, size) for each in params]
    if min(most) < size:
        limited = max(each for each in most if each < size)
        places = to_device(torch.tensor([min(each, limited) - 1 for each in most]), device)
        lowest = scores.topk(limited, dim=-1).values.gather(1, places[:, None])
        free = to_device(torch.tensor([each == size for each in most]), device)
        scores = scores.masked_fill((scores < lowest) & ~free[:, None], -torch.inf)
    if any(each.top_p < 1 for each in params):
        ordered, ids = scores.sort(dim=-1, stable=True)
        # In float64, so that a batch of another size, which is summed in another order, cuts at the same
        # token.
        below = torch.softmax(ordered.double(), dim=-1).cumsum(dim=-1)
        least = to_device(torch.tensor([1 - each.top_p for each in params], dtype=torch.float64), device)
        left_out = (below <= least[:, None]) & (least[:, None] > 0)
        left_out[:, -1] = False
        scores = scores.masked_fill(left_out.scatter(1, ids, left_out), -torch.inf)
    return scores


def penalised(logits: Tensor, params: Sequence[SamplingParams], generated: Sequence[Sequence[int]]) -> Tensor:
    """Logits ``[m, vocabulary]`` less the presence penalty, for the tokens that each answer has already: as
    vLLM does, before the temperature.
    """
    for own, each, token_ids in zip(logits, params, generated, strict=True):
        if each.presence_penalty and token_ids:
            own[to_device(torch.tensor(sorted(set(token_ids))), logits.device)] -= each.presence_penalty
    return logits


def _draw_of(sequence: SequenceState) -> tuple[SamplingParams, float]:
    draws = sequence.item.draws
    assert draws is not None
    return draws.params, draws.uniform(len(sequence.token_ids))


def are_finite(logits: Tensor) -> Tensor:
    """Whether all logits of a sequence are finite, ``[m]`` of ``[m, vocabulary]``: one pass, since NaN is
    both the least and the greatest.
    """
    least, greatest = torch.aminmax(logits, dim=-1)
    return least.isfinite() & greatest.isfinite()


def _logits(head: Any, hidden: Tensor) -> Tensor:
    """Logits ``[m, vocabulary]`` in float32: in bfloat16 too many of them are equal."""
    if hidden.dtype == torch.float32:
        logits: Tensor = head(hidden)
    elif hidden.is_cuda:
        logits = torch.mm(hidden, head.weight.T, out_dtype=torch.float32)
    else:
        logits = hidden.float() @ head.weight.float().T
    return logits
