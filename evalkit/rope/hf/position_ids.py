"""Position ids for the calls of a transformers model, worked out from the inputs of the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evalkit.rope.batch import BatchPositions, position_batch, positions_after
from evalkit.rope.hf.layouts import TokenLayout
from evalkit.rope.hf.signature import find_cache
from evalkit.rope.layout import Segment, TextRun
from evalkit.rope.positions import PositionDesign


class PositionIdBuilder:
    """Works out position ids for one model, and remembers the last prompts, after which cached calls go on.

    Position ids are ``[1 + R, B, S]``: index 0 counts tokens, the others are the design's axes. The language
    model's own ``forward`` gets the first, the rotary module the others, so that families whose language
    models have one axis only need nothing else.
    """

    def __init__(self, layout: TokenLayout, config: Any, designs: Sequence[PositionDesign]) -> None:
        self.layout = layout
        self.config = config
        self.designs = tuple(designs)
        self.last_prompts: BatchPositions | None = None

    def for_left_padded(self, sequences: Sequence[Sequence[Segment]], width: int) -> BatchPositions:
        """Positions of sequences that are padded on the left to ``width`` tokens."""
        lengths = np.array([sum(segment.length for segment in each) for each in sequences])
        return position_batch(self.designs, sequences, np.arange(width)[None] >= width - lengths[:, None])

    def for_prompts(
        self, input_ids: Tensor, mask: Tensor | None, inputs: Mapping[str, Any]
    ) -> BatchPositions:
        """Positions of the whole prompts that a call holds; kept for the calls that follow."""
        mask = mask if mask is not None and mask.shape == input_ids.shape else None
        sequences = self.layout.batch_segments(self.config, input_ids, mask, inputs)
        kept = np.ones(tuple(input_ids.shape), bool) if mask is None else mask.bool().cpu().numpy()
        self.last_prompts = position_batch(self.designs, sequences, kept)
        return self.last_prompts

    def for_generate(self, inputs_tensor: Tensor, model_kwargs: Mapping[str, Any]) -> Tensor:
        """Positions ``[1 + R, B, L]`` of all tokens that ``generate`` starts from."""
        inputs = {name: value for name, value in model_kwargs.items() if name != "input_ids"}
        tokens: Tensor = model_kwargs.get("input_ids", inputs_tensor)
        tokens = inputs_tensor if tokens.shape[1] == 0 else tokens
        mask = inputs.pop("attention_mask", None)
        if (past := cached_length(find_cache(inputs))) and not self.layout.describes_media(inputs):
            return self._after(_token_index(tokens, mask), tokens.device, self._cached_prompts(inputs), past)
        return self.for_forward(tokens, mask, 0, inputs)

    def for_forward(
        self, tokens: Tensor, mask: Tensor | None, past: int, inputs: Mapping[str, Any]
    ) -> Tensor:
        """Positions ``[1 + R, B, S]`` of ``tokens`` (ids or embeddings) after ``past`` cached ones.

        Raises:
            ValueError: images or videos after cached tokens, whose positions need the whole prompt.
        """
        if past:
            if self._has_visual_tokens(tokens):
                raise ValueError(
                    f"visual tokens after {past} cached ones: where they stand can't be told without the "
                    "whole prompt; give `position_ids`, or the prompt in one call"
                )
            return self._after(_token_index(tokens, mask, past), tokens.device, self._cached_prompts(inputs))
        if tokens.is_floating_point():  # embeddings without ids: nothing says where media are
            kept = np.ones(tuple(tokens.shape[:2]), bool) if mask is None else mask.bool().cpu().numpy()
            text = [[TextRun(int(length))] for length in kept.sum(axis=1)]
            self.last_prompts = position_batch(self.designs, text, kept)
        else:
            self.for_prompts(tokens, mask, inputs)
        assert self.last_prompts is not None
        return self.last_prompts.prompt.to(tokens.device)

    def _has_visual_tokens(self, tokens: Tensor) -> bool:
        """Whether any id is an image's or video's placeholder; of embeddings that is not known."""
        if tokens.is_floating_point():
            return False
        places = (getattr(self.config, f"{kind}_token_id", None) for kind in ("image", "video"))
        return any(bool((tokens == place).any()) for place in places if place is not None)

    def attach_to_cache(self, positions: Tensor, cache: Any) -> None:
        """Keep the last prompts, if these are their positions, with the KV cache that holds them: other
        prompts may be read before this cache is used again, and a copy of it continues the same ones.
        """
        if (
            cache is not None
            and self.last_prompts is not None
            and positions.ndim == 3
            and self._match_last_prompts(positions)
        ):
            cache._evalkit_prompts = (id(self), self.last_prompts)

    def _cached_prompts(self, inputs: Mapping[str, Any]) -> BatchPositions | None:
        """The prompts in a call's KV cache; the last ones where it was filled in another way."""
        owner, prompts = getattr(find_cache(inputs), "_evalkit_prompts", (None, None))
        return prompts if owner == id(self) else self.last_prompts

    def _after(
        self, index: Tensor, device: torch.device, prompts: BatchPositions | None, known: int = 0
    ) -> Tensor:
        """Positions of text after prompts, token numbers ``index [B, S]``; the first ``known`` are cached.

        Raises:
            ValueError: the batch is no multiple of the prompts, or the cache was cut within a prompt.
        """
        if prompts is None:  # nothing but text, counted from the first token
            step, batch = torch.tensor(self.text_steps(), dtype=torch.float64), len(index)
            origin = torch.zeros(len(step), batch, dtype=torch.float64)
            found = positions_after(origin, step, torch.zeros(batch), index.cpu()).to(device)
            return found.long() if bool((step == step.floor()).all()) else found
        beams, left = divmod(len(index), len(prompts.lengths))  # those of one prompt are next to each other
        if left or not beams:
            raise ValueError(
                f"{len(index)} rows go on after {len(prompts.lengths)} prompts: which of them can't be told; "
                "give `position_ids`"
            )
        own = torch.arange(len(prompts.lengths)).repeat_interleave(beams)
        prompts = prompts.select(own.tolist())
        found = prompts.after(index.cpu())
        _check_cut(prompts, found[:, :, known:])
        return found.to(device)

    def extend(self, before: Tensor, count: int) -> Tensor:
        """Positions ``[1 + R, B, count]`` of text after tokens at ``before [1 + R, B, L]``; after the last
        prompts it begins where their design says.
        """
        step = torch.tensor([1.0, *self.text_steps()], dtype=torch.float64, device=before.device)[:, None]
        first = before[:, :, -1] + step
        if self.last_prompts is not None and self._match_last_prompts(before):
            beams = before.shape[1] // self.last_prompts.prompt.shape[1]
            first[1:] = self.last_prompts.next_position.repeat_interleave(beams, dim=1).to(first.device)
        found = first[:, :, None] + step[:, :, None] * torch.arange(count, device=before.device)
        integer = not before.is_floating_point() and bool((found == found.floor()).all())
        return found.long() if integer else found

    def _match_last_prompts(self, positions: Tensor) -> bool:
        """Whether positions are those of the last prompts, each once or several times (beams)."""
        assert self.last_prompts is not None
        known, batch = self.last_prompts.prompt, positions.shape[1]
        if known.shape[2] != positions.shape[2] or batch % known.shape[1]:
            return False
        known = known.repeat_interleave(batch // known.shape[1], dim=1)
        return torch.equal(known.to(positions.device), positions)

    def text_steps(self) -> list[float]:
        """What a text token adds on each axis of each layer group, ``R`` numbers."""
        return [step for design in self.designs for step in design.text_step]

    def deltas(self) -> Tensor:
        """``rope_deltas [B, 1]`` of the last prompts, relative to their *unpadded* lengths."""
        assert self.last_prompts is not None
        return (self.last_prompts.next_position[0] - self.last_prompts.lengths)[:, None].to(
            self.last_prompts.prompt.dtype
        )


def _check_cut(prompts: BatchPositions, new: Tensor) -> None:
    """Text may replace a prompt's last text, whose positions it takes; not images.

    Raises:
        ValueError: the first of the ``new [1 + R, B, S]`` positions differs from the one in its prompt.
    """
    for sequence, length in enumerate(prompts.lengths.tolist()):
        number = int(new[0, sequence, 0])
        if number < length:
            place = int((prompts.prompt[0, sequence] == number).nonzero()[-1])
            if not torch.equal(prompts.prompt[:, sequence, place], new[:, sequence, 0]):
                raise ValueError(
                    f"the cache was cut to {number} of its prompt's {length} tokens, before an image or a "
                    "video ends: where text goes on can't be told; give `position_ids`"
                )


def cached_length(cache: Any) -> int:
    """Number of tokens in a KV cache."""
    return 0 if cache is None else int(cache.get_seq_length())


def _token_index(tokens: Tensor, mask: Tensor | None, past: int = 0) -> Tensor:
    """Index of every token in its sequence, ``[B, S]``; padding is not counted."""
    if mask is not None and mask.ndim == 2:
        return (mask.long().cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    return torch.arange(past, past + tokens.shape[1], device=tokens.device).expand(len(tokens), -1)
