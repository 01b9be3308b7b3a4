"""Greedy generation for a batch of prepared prompts, with explicit positions for every sample.

Rows are padded on the left. Positions are those of the unpadded row; generated token ``k`` of a row
sits at ``p_next + k`` on every axis. What a row generates depends on nothing but the row: in float32
its tokens are the same in every batch.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evalkit.errors import OutOfMemory
from evalkit.rope.install import Installed
from evalkit.rope.layout import Segment, segments_from_types
from evalkit.rope.placement import Placement
from evalkit.types import FinishReason, Prepared, VisionInput

LOOP_PERIOD = 32
LOOP_REPEATS = 16
LOOP_TOKENS = 64


@dataclass(frozen=True)
class DecodingRules:
    """``stop``: ids that end an answer. ``banned``: ids never generated (visual placeholders, padding).

    ``pad``: any id that is no visual placeholder. ``mean`` and ``std``: of the image processor, per
    colour channel, for pixels in [0, 1].
    """

    stop: frozenset[int]
    banned: tuple[int, ...]
    pad: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


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
    merge = model.config.vision_config.spatial_merge_size
    width = max(item.length for item in batch)
    ids = torch.full((len(batch), width), rules.pad, dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    placement = installed.place([segments_of(item, merge) for item in batch], width)
    for index, item in enumerate(batch):
        ids[index, width - item.length :] = torch.from_numpy(item.input_ids)
        mask[index, width - item.length :] = 1
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": placement.prompt}
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    media = [medium for item in batch for medium in item.vision]
    images = [medium for medium in media if medium.kind == "image"]
    videos = [medium for medium in media if medium.kind == "video"]
    if images:
        inputs["pixel_values"], inputs["image_grid_thw"] = _pixels(images, rules, model.device)
    if videos:
        inputs["pixel_values_videos"], inputs["video_grid_thw"] = _pixels(videos, rules, model.device)
    return [Row(item) for item in batch], placement, inputs


def segments_of(item: Prepared, merge: int) -> list[Segment]:
    """The segments of a prepared prompt."""
    return segments_from_types(
        item.token_types,
        [medium.grid for medium in item.vision],
        merge,
        [medium.seconds_per_grid for medium in item.vision],
    )


def _pixels(
    media: Sequence[VisionInput], rules: DecodingRules, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Normalised patches of all media, one after the other, and their grids.

    Bytes travel to the device; the arithmetic there is that of transformers' fast image processor.
    """
    patches = torch.from_numpy(np.concatenate([medium.patches for medium in media])).to(device)
    pixels = patches.float().view(len(patches), 3, -1)
    mean, std = (
        torch.tensor(values, device=device).view(1, 3, 1) * 255 for values in (rules.mean, rules.std)
    )
    grids = torch.tensor([medium.grid for medium in media], device=device)
    return ((pixels - mean) / std).view(len(patches), -1), grids
