"""The common start of all variants: everything that positions of pictures have no say in.

1. The language model continues repeated names (:mod:`tools.zoo_training.language`).
2. It answers the mini-suite's own questions about pictures that are told in words: looking up, copying,
   naming an option's letter and writing coordinates are learned here, under the positions of text, which are
   the same for every variant.
3. The vision tower learns to name cells in the language model's embeddings (:mod:`tools.zoo_training.tower`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tokenizers import Tokenizer

from evalkit.rope.hf.install import install, uninstall
from evalkit.rope.variants import parse_variant
from tools.zoo_training import language, tower
from tools.zoo_training.answers import Precision, answer_logits, answer_loss
from tools.zoo_training.batches import TOLD_MIX, Collator, training_batches
from tools.zoo_training.optimizer import Optimizer, rate
from tools.zoo_training.prompts import cell_tokens

STEPS = 6000
"""Of the stage that answers questions about told pictures."""


def train(
    model: Any, tokenizer: Tokenizer, seed: int, precision: Precision, log: Callable[[str], None]
) -> None:
    """Train a freshly initialised tiny model up to where variants part."""
    text, visual = model.model.language_model, model.model.visual
    language.train(text, tokenizer, seed, log)
    _answer_what_is_told(model, tokenizer, seed, precision, log)
    named = torch.tensor(cell_tokens(tokenizer))
    tower.train(visual, text.embed_tokens.weight.detach()[named], seed, log)


def _answer_what_is_told(
    model: Any, tokenizer: Tokenizer, seed: int, precision: Precision, log: Callable[[str], None]
) -> None:
    text = model.model.language_model
    installed = install(model, parse_variant("vanilla"))
    collator = Collator(tokenizer, installed.resolved)
    layers = {id(each): each for each in text.layers.parameters()}
    optimizer = Optimizer(layers.values(), [each for each in text.parameters() if id(each) not in layers])
    for step in range(STEPS):
        batches = training_batches(collator, seed, step, TOLD_MIX, told=True)
        logits = [answer_logits(model, batch, None, precision) for batch in batches]
        loss = answer_loss(logits, batches, by_question=True)
        optimizer.step(loss, rate(step, STEPS))
        if step % 100 == 99:
            log(f"told: step {step + 1}, loss {loss.item():.4f}")
    uninstall(model)
