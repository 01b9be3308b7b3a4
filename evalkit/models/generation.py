"""Greedy generation for a batch of prepared prompts, with explicit positions for every sample.

Rows are padded on the left. Positions are those of the unpadded row; generated token ``k`` of a row
sits at ``p_next + k`` on every axis. What a row generates depends on nothing but the row: in float32
its tokens are the same in every batch.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from evalkit.errors import OutOfMemory
from evalkit.rope.install import Installed
from evalkit.rope.layout import TEXT, Segment, TextRun, VisualBlock, runs
from evalkit.rope.placement import Placement
from evalkit.types import FinishReason, Prepared

LOOP_PERIOD = 32
LOOP_REPEATS = 16
LOOP_TOKENS = 64


@dataclass(frozen=True)
class DecodingRules:
    """``stop``: ids that end an answer. ``banned``: ids never generated (visual placeholders, padding).

    ``pad``: any id that is no visual placeholder. ``mean`` and ``std``: of the image processor, per
    colour channel, for pixels in [0, 1]. ``media_inputs``: the family's way to hand over media.
    """

    stop: frozenset[int]
    banned: tuple[int, ...]
    pad: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    media_inputs: MediaInputs


class MediaInputs(Protocol):
    """From the media of a batch to keyword arguments of a model's ``forward``; ``inputs`` holds those of
    the text, which they are added to.
    """

    def __call__(
        self, model: Any, batch: Sequence[Prepared], inputs: dict[str, Tensor], rules: DecodingRules
    ) -> dict[str, Tensor]: ...


@dataclass
class Row:
    """One prompt while it is being answered; ``token_ids`` exclude the stop token."""

    item: Prepared
    token_ids: list[int] = field(default_factory=list)
    finish: FinishReason | None = None

    def accept(self, token: int, stop: frozenset[int]) -> None:
        """Take the next token, unless the answer is complete."""
        if self.finish is not None:
            return
        if token in stop:
            self.finish = "stop"
            return
        self.token_ids.append(token)
        if is_loop(self.token_ids):
            self.finish = "loop"
        elif len(self.token_ids) >= self.item.max_new_tokens:
            self.finish = "length"


def is_loop(token_ids: Sequence[int]) -> bool:
    """Whether the answer ends in one phrase over and over, so that going on is pointless.

    True if the tail is a phrase of at most 32 tokens, at least 16 times in a row and at least 64
    tokens in all. It looks at nothing but the tokens, so an answer is cut at the same place in every
    batch.

    >>> is_loop([1, 2] * 31), is_loop([1, 2] * 32), is_loop([*range(40)] * 20)
    (False, True, False)
    """
    for period in range(1, LOOP_PERIOD + 1):
        span = max(LOOP_TOKENS, LOOP_REPEATS * period)
        if len(token_ids) < span:
            return False
        if token_ids[-1] != token_ids[-1 - period]:
            continue
        tail = token_ids[-span:]
        if tail[:-period] == tail[period:]:
            return True
    return False


def generate(model: Any, installed: Installed, batch: Sequence[Prepared], rules: DecodingRules) -> list[Row]:
    """Answer a batch; row ``i`` belongs to ``batch[i]``.

    Raises:
        OutOfMemory: the batch did not fit; its tensors have been freed.
    """
    try:
        return _generate(model, installed, batch, rules)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not (isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)):
            raise
        reason = str(error).splitlines()[0]
    # Outside the handler: the exception's frames held the batch's tensors until here.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise OutOfMemory(f"a batch of {len(batch)} did not fit: {reason}")


@torch.inference_mode()
def _generate(model: Any, installed: Installed, batch: Sequence[Prepared], rules: DecodingRules) -> list[Row]:
    from transformers import DynamicCache

    rows, placement, inputs = prefill(model, installed, batch, rules)
    banned = torch.tensor(rules.banned, dtype=torch.long, device=model.device)
    cache = DynamicCache(config=model.config.get_text_config())
    active = rows
    while True:
        tokens = _next_tokens(model, inputs, cache, banned)
        for row, token in zip(active, tokens.tolist(), strict=True):
            row.accept(token, rules.stop)
        going = [index for index, row in enumerate(active) if row.finish is None]
        if not going:
            return rows
        mask = inputs["attention_mask"]
        if 2 * len(going) <= len(active):  # dropping rows copies the cache: not at every step
            kept = torch.tensor(going, device=model.device)
            cache.batch_select_indices(kept)
            active, tokens, mask = [active[index] for index in going], tokens[kept], mask[kept]
            placement = placement.select(going)
        inputs = {
            "input_ids": tokens[:, None],
            "attention_mask": torch.cat([mask, mask.new_ones(len(active), 1)], dim=1),
            "position_ids": placement.generated([len(row.token_ids) - 1 for row in active]).to(model.device),
        }


def _next_tokens(model: Any, inputs: dict[str, Tensor], cache: Any, banned: Tensor) -> Tensor:
    """The likeliest token of each row ``[B]``; of equals, the lowest id."""
    output = model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
    logits: Tensor = output.logits[:, -1].float()
    logits[:, banned] = -torch.inf
    return logits.argmax(dim=-1)


def prefill(
    model: Any, installed: Installed, batch: Sequence[Prepared], rules: DecodingRules
) -> tuple[list[Row], Placement, dict[str, Tensor]]:
    """The rows of a batch, their positions, and the model's keyword arguments for their prompts."""
    width = max(item.length for item in batch)
    ids = torch.full((len(batch), width), rules.pad, dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    placement = installed.place([segments_of(item) for item in batch], width)
    for index, item in enumerate(batch):
        ids[index, width - item.length :] = torch.from_numpy(item.input_ids)
        mask[index, width - item.length :] = 1
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": placement.prompt}
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    if any(item.vision for item in batch):
        inputs |= rules.media_inputs(model, batch, inputs, rules)
    return [Row(item) for item in batch], placement, inputs


def segments_of(item: Prepared) -> list[Segment]:
    """The segments of a prepared prompt: each run of visual tokens is cut into its media's blocks."""
    blocks = iter(
        VisualBlock(grid, medium.seconds_per_grid, medium.tile)
        for medium in item.vision
        for grid in medium.blocks
    )
    segments: list[Segment] = []
    for kind, length in runs(item.token_types):
        left = 0 if kind == TEXT else length
        if kind == TEXT:
            segments.append(TextRun(length))
        while left > 0:
            segments.append(next(blocks))
            left -= segments[-1].length
    if next(blocks, None) is not None or sum(each.length for each in segments) != item.length:
        raise ValueError(f"the visual tokens of `{item.key}` are not those of its media's blocks")
    return segments
