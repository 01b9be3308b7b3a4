"""Positions of a batch: of its prompts, and of what is generated after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from evalkit.rope.layout import Segment
from evalkit.rope.positions import PositionDesign, SequencePlan, positions_dtype, write_positions


@dataclass(frozen=True)
class BatchPositions:
    """Positions of ``B`` sequences; ``R`` is the number of axes times that of the layer groups.

    ``prompt``: ``[1 + R, B, L]``, int64 if all positions, of the prompts and of what is generated after
    them, are integers, and float64 otherwise. Index 0 counts tokens (what transformers makes masks from),
    the others are the design's axes; padding is 0. Generated token ``k`` of sequence ``b`` stands at
    ``next_position[:, b] + k * step``, both float64; ``lengths [B]`` counts prompt tokens.
    """

    prompt: Tensor
    next_position: Tensor
    step: Tensor
    lengths: Tensor

    def after(self, index: Tensor) -> Tensor:
        """Positions ``[1 + R, B, S]`` of generated tokens: number ``index [B, S]`` of their sequences,
        counted from the first prompt token.
        """
        return positions_after(self.next_position, self.step, self.lengths, index).to(self.prompt.dtype)

    def select(self, sequences: Sequence[int]) -> BatchPositions:
        """The positions of some of the sequences."""
        kept = torch.tensor(sequences, dtype=torch.long)
        return BatchPositions(
            self.prompt[:, kept], self.next_position[:, kept], self.step, self.lengths[kept]
        )


def positions_after(next_position: Tensor, step: Tensor, lengths: Tensor, index: Tensor) -> Tensor:
    """Positions ``[1 + R, B, S]``, float64, of generated tokens: number ``index [B, S]`` of their sequences,
    whose prompts have ``lengths [B]`` tokens; ``next_position [R, B]``, ``step [R]``: see
    :class:`BatchPositions`.
    """
    index = index.to(torch.float64)
    steps = index - lengths[:, None]
    return torch.cat([index[None], next_position[:, :, None] + steps[None] * step[:, None, None]])


def position_batch(
    designs: Sequence[PositionDesign], sequences: Sequence[Sequence[Segment]], kept: npt.NDArray[np.bool_]
) -> BatchPositions:
    """Positions of every unpadded sequence, written where ``kept [B, L]`` is true (padding anywhere);
    ``designs`` are those of the layer groups.

    Raises:
        ValueError: a sequence's segments and its kept tokens differ in number.
        BadPosition: a design returns what is no position.
    """
    plans = [[SequencePlan(design, segments) for design in designs] for segments in sequences]
    lengths = kept.sum(axis=1)
    for number, (own, length) in enumerate(zip(plans, lengths.tolist(), strict=True)):
        if own[0].length != length:
            raise ValueError(f"sequence {number} has {length} tokens, its segments {own[0].length}")
    step = np.concatenate([design.text_step for design in designs], dtype=np.float64)
    out = np.zeros((1 + len(step), *kept.shape), positions_dtype(chain(*plans)))
    for number, own in enumerate(plans):
        _write(out[:, number], own, kept[number])
    next_position = np.array([np.concatenate([plan.next_position for plan in own]) for own in plans]).T
    return BatchPositions(*map(torch.from_numpy, (out, next_position, step, lengths)))


def _write(out: npt.NDArray[np.generic], plans: Sequence[SequencePlan], kept: npt.NDArray[np.bool_]) -> None:
    """Fill one sequence's ``out [1 + R, L]``."""
    length = plans[0].length
    begin = int(kept.argmax())
    contiguous = bool(kept[begin : begin + length].all())
    window = out[:, begin : begin + length] if contiguous else np.empty((len(out), length), out.dtype)
    window[0] = np.arange(length)
    write_positions(plans, window[1:])
    if not contiguous:
        out[:, kept] = window
