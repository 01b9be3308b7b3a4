"""Stage 0 of the training: the language model alone, on text.

Text is sequences of random names, pieces of which are repeated: to continue a piece is to look up what
followed it before. Text has equal positions on all axes, so this stage is the same for every RoPE variant,
and is done once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name everybody uses)

from tools.zoo_training import prompts

STEPS = 1000
WARM_UP = 100
PEAK_RATE = 2e-3
TOKENS = 1600
"""Tokens in a step."""


def sequences(names: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch of text: ``n`` different names, then ``n`` more in pieces repeated from the first.

    Returns:
        Tokens ``[B, 2 n]``, and a mask ``[B, 2 n]`` of the predictable ones.
    """

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    n = draw(6, 25)
    rows = TOKENS // (2 * n)
    first = names[torch.rand((rows, len(names)), generator=generator).argsort(1)[:, :n]]
    place, known = torch.zeros((rows, n), dtype=torch.long), torch.zeros((rows, n), dtype=torch.bool)
    at = 0
    while at < n:
        length = min(draw(2, n + 1), n - at)
        starts = torch.randint(0, n - length + 1, (rows, 1), generator=generator)
        place[:, at : at + length] = starts + torch.arange(length)
        known[:, at + 1 : at + length] = True
        at += length
    tokens = torch.cat((first, first.gather(1, place)), 1)
    return tokens, torch.cat((torch.zeros_like(known), known), 1)


def train(text: Any, tokenizer: Tokenizer, seed: int, log: Callable[[str], None]) -> None:
    """Train the language model ``text`` (transformers' text model with tied embeddings)."""
    generator = torch.Generator().manual_seed(seed)
    names = torch.tensor(prompts.cell_tokens(tokenizer)[1:])
    optimiser = torch.optim.AdamW(text.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = PEAK_RATE * min(1.0, (step + 1) / WARM_UP, (STEPS - step) / (STEPS / 4))
        tokens, known = sequences(names, generator)
        hidden = text(inputs_embeds=text.embed_tokens(tokens), use_cache=False).last_hidden_state
        chosen = hidden[:, :-1][known[:, 1:]]
        loss = F.cross_entropy(chosen @ text.embed_tokens.weight.T, tokens[:, 1:][known[:, 1:]])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(text.parameters(), 1.0)
        optimiser.step()
        if step % 100 == 99:
            log(f"language model: step {step + 1}, loss {loss.item():.4f}")
