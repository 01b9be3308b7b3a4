"""The sampler: greedy choice of the next token from float32 logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from evalkit.inference.async_copies import AsyncHostCopy, to_device
from evalkit.inference.sequence import SequenceState


def select_tokens(
    head: Any, hidden: Tensor, sequences: Sequence[SequenceState], banned_token_ids: Sequence[int]
) -> AsyncHostCopy:
    """For each sequence the likeliest token (of equals, the lowest id), its margin over the next one, and
    whether all its logits are finite. A sequence with ``choices`` gets one of these.

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
    return AsyncHostCopy(best[:, 0], margins[:, 0], finite)


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
