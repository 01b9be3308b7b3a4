"""Positions for the calls that transformers makes of a model: what its inputs say about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evalkit.rope.hosts import Host
from evalkit.rope.layout import Segment, TextRun
from evalkit.rope.placement import Placement, place, positions_after
from evalkit.rope.positions import PositionDesign
from evalkit.rope.signature import cache_in


class Positioner:
    """Works out position ids for one model, and remembers the last prompts for going on after them.

    Position ids travel as ``[1 + R, B, S]``: a row that counts tokens, then the design's axes. The
    language model's own ``forward`` gets the first row, the rotary module the others, so that families
    whose language models know one axis only need nothing else.
    """

    def __init__(self, host: Host, config: Any, designs: Sequence[PositionDesign]) -> None:
        self.host = host
        self.config = config
        self.designs = tuple(designs)
        self.last: Placement | None = None

    def left_padded(self, rows: Sequence[Sequence[Segment]], width: int) -> Placement:
        """Positions of rows that are padded on the left to ``width`` tokens."""
        lengths = np.array([sum(segment.length for segment in row) for row in rows])
        return place(self.designs, rows, np.arange(width)[None] >= width - lengths[:, None])

    def of_call(self, input_ids: Tensor, mask: Tensor | None, inputs: Mapping[str, Any]) -> Placement:
        """Positions of the whole prompts that a call holds; remembered for what follows them."""
        mask = mask if mask is not None and mask.shape == input_ids.shape else None
        rows = self.host.rows(self.config, input_ids, mask, inputs)
        kept = np.ones(tuple(input_ids.shape), bool) if mask is None else mask.bool().cpu().numpy()
        self.last = place(self.designs, rows, kept)
        return self.last

    def before_generation(self, inputs_tensor: Tensor, model_kwargs: Mapping[str, Any]) -> Tensor:
        """Positions ``[1 + R, B, L]`` of all tokens that ``generate`` starts from."""
        inputs = {name: value for name, value in model_kwargs.items() if name != "input_ids"}
        tokens: Tensor = model_kwargs.get("input_ids", inputs_tensor)
        tokens = inputs_tensor if tokens.shape[1] == 0 else tokens
        mask = inputs.pop("attention_mask", None)
        if (past := cached(cache_in(inputs))) and not self.host.described(inputs):
            return self._after(_count(tokens, mask), tokens.device, self._prompts_in(inputs), past)
        return self.of_forward(tokens, mask, 0, inputs)

    def of_forward(self, tokens: Tensor, mask: Tensor | None, past: int, inputs: Mapping[str, Any]) -> Tensor:
        """Positions ``[1 + R, B, S]`` of ``tokens`` (ids or embeddings) after ``past`` cached ones.

        Raises:
            ValueError: images or videos after cached tokens, whose positions need the whole prompt.
        """
        if past:
            if self._visual(tokens):
                raise ValueError(
                    f"visual tokens after {past} cached ones: where they stand can't be told without the "
                    "whole prompt; give `position_ids`, or the prompt in one call"
                )
            return self._after(_count(tokens, mask, past), tokens.device, self._prompts_in(inputs))
        if tokens.is_floating_point():  # embeddings without ids: nothing says where media are
            kept = np.ones(tuple(tokens.shape[:2]), bool) if mask is None else mask.bool().cpu().numpy()
            rows = [[TextRun(int(length))] for length in kept.sum(axis=1)]
            self.last = place(self.designs, rows, kept)
        else:
            self.of_call(tokens, mask, inputs)
        assert self.last is not None
        return self.last.prompt.to(tokens.device)

    def _visual(self, tokens: Tensor) -> bool:
        """Whether ids stand for parts of images or videos; of embeddings that is not known."""
        if tokens.is_floating_point():
            return False
        places = (getattr(self.config, f"{kind}_token_id", None) for kind in ("image", "video"))
        return any(bool((tokens == place).any()) for place in places if place is not None)

    def remember(self, positions: Tensor, cache: Any) -> None:
        """Tie the last prompts, if these are their positions, to the key-value cache that holds them: other
        prompts may come before it is gone on with, and a copy of it goes on after the same.
        """
        if cache is not None and self.last is not None and positions.ndim == 3 and self._are_last(positions):
            cache._evalkit_prompts = (id(self), self.last)

    def _prompts_in(self, inputs: Mapping[str, Any]) -> Placement | None:
        """The prompts that a call's cache holds; the last ones where it was filled in another way."""
        owner, prompts = getattr(cache_in(inputs), "_evalkit_prompts", (None, None))
        return prompts if owner == id(self) else self.last

    def _after(
        self, index: Tensor, device: torch.device, prompts: Placement | None, known: int = 0
    ) -> Tensor:
        """Positions of text after prompts, token numbers ``index [B, S]``; the first ``known`` are cached.

        Raises:
            ValueError: not a whole number of rows for each prompt, or the cache was cut within a prompt.
        """
        if prompts is None:  # nothing but text, counted from the first token
            step, rows = torch.tensor(self.steps(), dtype=torch.float64), len(index)
            origin = torch.zeros(len(step), rows, dtype=torch.float64)
            found = positions_after(origin, step, torch.zeros(rows), index.cpu()).to(device)
            return found.long() if bool((step == step.floor()).all()) else found
        rows, left = divmod(len(index), len(prompts.lengths))  # beams of one prompt stand side by side
        if left or not rows:
            raise ValueError(
                f"{len(index)} rows go on after {len(prompts.lengths)} prompts: which of them can't be told; "
                "give `position_ids`"
            )
        order = torch.arange(len(prompts.lengths)).repeat_interleave(rows)
        prompts = prompts.select(order.tolist())
        found = prompts.after(index.cpu())
        _check_cut(prompts, found[:, :, known:])
        return found.to(device)

    def going_on(self, before: Tensor, count: int) -> Tensor:
        """Positions ``[1 + R, B, count]`` of text after tokens at ``before [1 + R, B, L]``; after the last
        prompts it begins where their design says.
        """
        step = torch.tensor([1.0, *self.steps()], dtype=torch.float64, device=before.device)[:, None]
        first = before[:, :, -1] + step
        if self.last is not None and self._are_last(before):
            rows = before.shape[1] // self.last.prompt.shape[1]
            first[1:] = self.last.following.repeat_interleave(rows, dim=1).to(first.device)
        found = first[:, :, None] + step[:, :, None] * torch.arange(count, device=before.device)
        whole = not before.is_floating_point() and bool((found == found.floor()).all())
        return found.long() if whole else found

    def _are_last(self, positions: Tensor) -> bool:
        """Whether positions are those of the last prompts, each once or several times over (beams)."""
        assert self.last is not None
        known, rows = self.last.prompt, positions.shape[1]
        if known.shape[2] != positions.shape[2] or rows % known.shape[1]:
            return False
        known = known.repeat_interleave(rows // known.shape[1], dim=1)
        return torch.equal(known.to(positions.device), positions)

    def steps(self) -> list[float]:
        return [step for design in self.designs for step in design.text_step]

    def deltas(self) -> Tensor:
        """``rope_deltas [B, 1]`` of the last prompts, relative to their *unpadded* lengths."""
        assert self.last is not None
        return (self.last.following[0] - self.last.lengths)[:, None].to(self.last.prompt.dtype)


def _check_cut(prompts: Placement, new: Tensor) -> None:
    """Text may go on in place of a prompt's last text, where it stands alike; not in place of images.

    Raises:
        ValueError: the first of the ``new [1 + R, B, S]`` positions is another one within its prompt.
    """
    for row, length in enumerate(prompts.lengths.tolist()):
        number = int(new[0, row, 0])
        if number < length:
            place = int((prompts.prompt[0, row] == number).nonzero()[-1])
            if not torch.equal(prompts.prompt[:, row, place], new[:, row, 0]):
                raise ValueError(
                    f"the cache was cut to {number} of its prompt's {length} tokens, before an image or a "
                    "video ends: where text goes on can't be told; give `position_ids`"
                )


def cached(cache: Any) -> int:
    """Number of tokens in a key-value cache."""
    return 0 if cache is None else int(cache.get_seq_length())


def _count(tokens: Tensor, mask: Tensor | None, past: int = 0) -> Tensor:
    """Number of every token in its row ``[B, S]``, padding not counted."""
    if mask is not None and mask.ndim == 2:
        return (mask.long().cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    return torch.arange(past, past + tokens.shape[1], device=tokens.device).expand(len(tokens), -1)
