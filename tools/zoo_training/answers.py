"""What a tiny model answers to a batch: logits of the answer tokens, their loss, which answers are exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name everybody uses)

from tools.zoo_training.batches import IGNORED, TrainingBatch
from tools.zoo_training.decoder import decode
from tools.zoo_training.prompts import END


@dataclass(frozen=True)
class Precision:
    """How the decoder is computed: the dtype of its products, and whether it is compiled."""

    dtype: torch.dtype = torch.bfloat16
    compiled: bool = True


EXACT = Precision(torch.float32, compiled=False)


def answer_logits(model: Any, batch: TrainingBatch, patches: Tensor | None, precision: Precision) -> Tensor:
    """Logits ``[n, vocabulary]`` of the ``n`` answer tokens of a batch, in its order.

    Args:
        model: the tiny model, a variant installed.
        batch: scenes with their questions.
        patches: the features that the tower hands to its merger (``tower.feature_table``); None where
            pictures are told.
        precision: of the decoder.
    """
    text = model.model.language_model
    embedded = text.embed_tokens(batch.ids)
    if patches is not None:
        merged = model.model.visual.merger(patches)
        embedded = torch.where((batch.cells >= 0)[..., None], merged[batch.cells.clamp(min=0)], embedded)
    cos, sin = text.rotary_emb(embedded, batch.positions)
    half = cos.shape[-1] // 2
    cos, sin = (each[..., :half] if each.ndim == 4 else each[:, None, :, :half] for each in (cos, sin))
    rotation = [(cos.contiguous(), sin.contiguous())] * len(text.layers)
    hidden = decode(embedded, batch.mask, rotation, text, precision.dtype, precision.compiled)
    logits: Tensor = hidden[batch.labels != IGNORED] @ text.embed_tokens.weight.T
    return logits


def answer_loss(logits: list[Tensor], batches: list[TrainingBatch], *, by_question: bool) -> Tensor:
    """Cross-entropy over the answer tokens of the batches of a step.

    ``by_question``: every question counts alike, and reading as much as the others of its scene; else
    every token does, so that reading dominates.
    """
    labels = torch.cat([batch.labels[batch.labels != IGNORED] for batch in batches])
    weights = torch.cat([batch.weights[batch.labels != IGNORED] for batch in batches])
    if not by_question:
        weights = torch.ones_like(weights)
    losses = F.cross_entropy(torch.cat(logits), labels, reduction="none")
    return (weights * losses).sum() / weights.sum()


def exact_answers(logits: Tensor, batch: TrainingBatch) -> list[bool]:
    """Whether every token of an answer is the likeliest one, for each question of the batch in its order."""
    labels = batch.labels[batch.labels != IGNORED]
    right = (logits.argmax(-1) == labels).tolist()
    ends = torch.nonzero(labels == END).flatten().tolist()
    begins = [0, *(end + 1 for end in ends[:-1])]
    return [all(right[begin : end + 1]) for begin, end in zip(begins, ends, strict=True)]
