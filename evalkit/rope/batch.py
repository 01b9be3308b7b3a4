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
from evalkit.rope.positions import PositionDesign, SequencePlan, positions_dtype


@dataclass(frozen=True)
class BatchPositions:
    """Positions of ``B`` rows; ``R`` is 3 axes times the number of layer groups of the design.

    ``prompt``: ``[1 + R, B, L]``, int64 if all positions, of the prompts and of what is generated after
    them, are integers, and float64 otherwise. Row 0 counts tokens (what transformers makes masks from),
    the others are the design's axes; padding is 0. Generated token ``k`` of row ``b`` sits at
    ``next_position[:, b] + k * step``, both float64; ``lengths [B]`` counts prompt tokens.
    """

    prompt: Tensor
    next_position: Tensor
    step: Tensor
    lengths: Tensor

    def after(self, index: Tensor) -> Tensor:
        """Positions ``[1 + R, B, S]`` of the tokens that are number ``index [B, S]`` of their rows,
        counted from the first prompt token and all after the prompt.
        """
        return positions_after(self.next_position, self.step, self.lengths, index).to(self.prompt.dtype)

    def select(self, rows: Sequence[int]) -> BatchPositions:
        """The placement of some of the rows."""
        kept = torch.tensor(rows, dtype=torch.long)
        return BatchPositions(
            self.prompt[:, kept], self.next_position[:, kept], self.step, self.lengths[kept]
        )


def positions_after(next_position: Tensor, step: Tensor, lengths: Tensor, index: Tensor) -> Tensor:
    """Positions ``[1 + R, B, S]``, float64, of the tokens that are number ``index [B, S]`` of their rows,
    all after prompts of ``lengths [B]`` tokens; ``next_position [R, B]``, ``step [R]``: see :class:`BatchPositions`.
    """
    index = index.to(torch.float64)
    steps = index - lengths[:, None]
    return torch.cat([index[None], next_position[:, :, None] + steps[None] * step[:, None, None]])


def position_batch(
    designs: Sequence[PositionDesign], rows: Sequence[Sequence[Segment]], kept: npt.NDArray[np.bool_]
) -> BatchPositions:
    """Place the segments of every unpadded row where ``kept [B, L]`` is true (padding anywhere).

    Raises:
        ValueError: a row's segments and its kept tokens differ in number.
        BadPosition: a design returns what is no finite number.
    """
    plans = [[SequencePlan(design, row) for design in designs] for row in rows]
    lengths = kept.sum(axis=1)
    for number, (row, length) in enumerate(zip(plans, lengths.tolist(), strict=True)):
        if row[0].length != length:
            raise ValueError(f"row {number} has {length} tokens, its segments {row[0].length}")
    out = np.zeros((1 + 3 * len(designs), *kept.shape), positions_dtype(chain(*plans)))
    for number, row in enumerate(plans):
        _write(out[:, number], row, kept[number])
    next_position = np.array([np.concatenate([plan.next_position for plan in row]) for row in plans]).T
    step = np.concatenate([design.text_step for design in designs], dtype=np.float64)
    return BatchPositions(*map(torch.from_numpy, (out, next_position, step, lengths)))


def _write(out: npt.NDArray[np.generic], plans: Sequence[SequencePlan], kept: npt.NDArray[np.bool_]) -> None:
    """Fill one row, ``out [1 + R, L]``."""
    length = plans[0].length
    begin = int(kept.argmax())
    together = bool(kept[begin : begin + length].all())
    window = out[:, begin : begin + length] if together else np.empty((len(out), length), out.dtype)
    window[0] = np.arange(length)
    for group, plan in enumerate(plans):
        plan.write(window[1 + 3 * group : 4 + 3 * group])
    if not together:
        out[:, kept] = window
