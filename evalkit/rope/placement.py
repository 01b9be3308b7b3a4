"""Positions of a batch: of its prompts, and of what is generated after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from evalkit.rope.layout import Segment
from evalkit.rope.positions import Plan, PositionDesign


@dataclass(frozen=True)
class Placement:
    """Positions of ``B`` rows; ``R`` is 3 axes times the number of tracks of the design.

    ``prompt``: ``[1 + R, B, L]``, int64 if every value is whole by design and float32 otherwise. Row 0
    counts tokens (what transformers makes masks from), the others are the design's axes; padding is
    0. Generated token ``k`` of row ``b`` sits at ``following[:, b] + k * step``; ``lengths [B]`` counts
    prompt tokens.
    """

    prompt: Tensor
    following: Tensor
    step: Tensor
    lengths: Tensor

    def generated(self, steps: Sequence[int]) -> Tensor:
        """Positions ``[1 + R, B, 1]`` of generated token number ``steps[b]`` of every row."""
        counted = torch.tensor(steps, dtype=torch.float64)
        return self.after((self.lengths + counted)[:, None])

    def after(self, index: Tensor) -> Tensor:
        """Positions ``[1 + R, B, S]`` of the tokens that are number ``index [B, S]`` of their rows,
        counted from the first prompt token and all after the prompt.
        """
        index = index.to(torch.float64)
        steps = index - self.lengths[:, None]
        axes = self.following[:, :, None] + steps[None] * self.step[:, None, None]
        return torch.cat([index[None], axes]).to(self.prompt.dtype)

    def select(self, rows: Sequence[int]) -> Placement:
        """The placement of some of the rows."""
        kept = torch.tensor(rows, dtype=torch.long)
        return Placement(self.prompt[:, kept], self.following[:, kept], self.step, self.lengths[kept])


def place(
    designs: Sequence[PositionDesign], rows: Sequence[Sequence[Segment]], kept: npt.NDArray[np.bool_]
) -> Placement:
    """Place the segments of every unpadded row where ``kept [B, L]`` is true (padding anywhere).

    Raises:
        ValueError: a row's segments and its kept tokens differ in number.
    """
    plans = [[Plan(design, row) for design in designs] for row in rows]
    lengths = kept.sum(axis=1)
    for number, (row, length) in enumerate(zip(plans, lengths.tolist(), strict=True)):
        if row[0].length != length:
            raise ValueError(f"row {number} has {length} tokens, its segments {row[0].length}")
    whole = all(design.whole for design in designs)
    out = np.zeros((1 + 3 * len(designs), *kept.shape), dtype=np.int64 if whole else np.float32)
    for number, row in enumerate(plans):
        _write(out[:, number], row, kept[number])
    following = np.array([np.concatenate([plan.following for plan in row]) for row in plans]).T
    step = np.concatenate([design.text_step for design in designs])
    return Placement(
        torch.from_numpy(out), torch.from_numpy(following), torch.from_numpy(step), torch.from_numpy(lengths)
    )


def _write(out: npt.NDArray[np.generic], plans: Sequence[Plan], kept: npt.NDArray[np.bool_]) -> None:
    """Fill one row, ``out [1 + R, L]``."""
    length = plans[0].length
    begin = int(kept.argmax())
    together = bool(kept[begin : begin + length].all())
    window = out[:, begin : begin + length] if together else np.empty((len(out), length), out.dtype)
    window[0] = np.arange(length)
    for track, plan in enumerate(plans):
        plan.write(window[1 + 3 * track : 4 + 3 * track])
    if not together:
        out[:, kept] = window
