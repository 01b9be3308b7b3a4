"""The roofline: FLOPs and bytes of the useful work of a set of questions, and the least time for it.

Only useful work counts: every medium goes through the vision tower once, every shared prefix through the
language model once, nothing is padded. So the roofline is the same for every system. Multiplications and
additions count one each; biases, norms, activations and positions don't count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from evalkit.core.types import Prepared, VisionInput
from evalkit.engine.scheduler import MAX_RUNNING_SEQUENCES
from evalkit.models.families.adapter import FamilyAdapter


@dataclass(frozen=True)
class VisionTowerSize:
    """Sizes of a vision tower, as the formulas need them.

    Attributes:
        block: weights of the linear layers that every patch passes.
        embedding: weights of the patch embedding.
        connector: weights that every ``merge`` patches pass together.
        width: size of a patch's hidden state.
        full: layers that attend within a whole image or pair of frames.
        windowed: layers that attend within windows of ``window`` patches on a side.
        tiled: whether all pictures are cut into squares of ``side`` patches (with ``extra`` tokens each).
    """

    block: int
    embedding: int
    connector: int
    merge: int
    width: int
    full: int
    windowed: int = 0
    window: int = 0
    side: int = 0
    extra: int = 0

    def flops(self, medium: VisionInput) -> float:
        """FLOPs of one medium.

        Source: ``2 P n`` for linear layers, ``4 d n s`` for attention of ``n`` tokens to ``s`` each
        (Kaplan et al., "Scaling Laws for Neural Language Models", 2020, table 1).
        """
        if self.side:
            pictures, tokens = len(medium.patches), self.side**2 + self.extra
            patches, pairs, windows = pictures * self.side**2, pictures * tokens**2, 0
            through = pictures * tokens
        else:
            frames, height, width = medium.grid
            patches = through = frames * height * width
            pairs = frames * (height * width) ** 2
            windows = frames * _squares(height, self.window) * _squares(width, self.window)
        linear = 2 * (self.block * through + self.embedding * patches + self.connector * patches / self.merge)
        return linear + 4 * self.width * (self.full * pairs + self.windowed * windows)


@dataclass(frozen=True)
class LanguageModelSize:
    """Sizes of a language model, as the formulas need them.

    Attributes:
        linear: weights of the linear layers.
        head: weights of the language model head.
        layers: number of layers.
        width: size of all query heads together.
        kv_numbers: numbers of a token in the KV cache.
        bytes: of a number.
    """

    linear: int
    head: int
    layers: int
    width: int
    kv_numbers: int
    bytes: int

    def prefill_flops(self, tokens: int, past: int = 0) -> float:
        """FLOPs of ``tokens`` that attend to ``past`` earlier ones and causally to themselves."""
        pairs = tokens * past + tokens * (tokens + 1) / 2
        return 2 * self.linear * tokens + 4 * self.layers * self.width * pairs

    def decode_step(self, context: float, sequences: float) -> tuple[float, float]:
        """FLOPs, and bytes read, of one decode step of ``sequences`` with ``context`` tokens each."""
        weights = (self.linear + self.head) * self.bytes
        flops = sequences * (2 * (self.linear + self.head) + 4 * self.layers * self.width * context)
        return flops, weights + sequences * context * self.kv_numbers * self.bytes


@dataclass(frozen=True)
class UsefulWork:
    """FLOPs of the useful work, and the bytes that decoding reads."""

    vision: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    decode_bytes: float = 0.0

    @property
    def flops(self) -> float:
        return self.vision + self.prefill + self.decode

    def seconds(self, peak: float, bandwidth: float) -> float:
        """Least time at ``peak`` FLOP/s and ``bandwidth`` bytes/s."""
        return (self.vision + self.prefill) / peak + max(self.decode / peak, self.decode_bytes / bandwidth)


def useful_work(
    model: Any,
    adapter: FamilyAdapter,
    groups: Iterable[Sequence[Prepared]],
    answers: dict[str, int],
    *,
    models: int = 1,
) -> UsefulWork:
    """Useful work of questions in groups about the same media, whose answers have ``answers`` tokens by key;
    for ``models`` in lockstep that share a vision tower.

    Source: the formulas of :class:`VisionTowerSize` and :class:`LanguageModelSize`; a decode step of all
    sequences, at most 256, reads the weights once.
    """
    tower, text = vision_tower_size(model, adapter), language_model_size(model)
    vision = prefill = 0.0
    contexts: list[tuple[int, int]] = []
    for group in groups:
        vision += sum(tower.flops(medium) for medium in group[0].vision)
        for prefix, items in _prefixes(group):
            prefill += text.prefill_flops(prefix)
            for item in items:
                prefill += text.prefill_flops(item.length - prefix, prefix) + 2 * text.head
                contexts.append((item.length, max(0, answers[item.key] - 1)))
    steps = sum(count for _, count in contexts)
    sequences = max(1, min(MAX_RUNNING_SEQUENCES, len(contexts)))
    mean = sum((length + count / 2) * count for length, count in contexts) / max(1, steps)
    flops, read = text.decode_step(mean, sequences)
    each = models * steps / sequences
    return UsefulWork(vision, models * prefill, each * flops, each * read)


def vision_tower_size(model: Any, adapter: FamilyAdapter) -> VisionTowerSize:
    """Sizes of a transformers model's vision tower, from its layers and configuration."""
    config = model.config.vision_config
    tower = model.get_submodule(adapter.vision_tower)
    parts = dict(tower.named_modules())
    modules = dict(model.named_modules())
    connectors = [modules[path] for path in adapter.connector if path in modules]  # without parameters
    beside = {id(each) for part in connectors for each in part.modules()}
    convolutions = [each for each in parts.values() if isinstance(each, nn.Conv2d | nn.Conv3d)]
    linear = [
        each
        for name, each in parts.items()
        if isinstance(each, nn.Linear) and id(each) not in beside and ".head" not in f".{name}"
    ]
    own = {
        "block": sum(each.weight.numel() for each in linear),
        "embedding": sum(each.weight.numel() for each in convolutions),
        "connector": sum(each.weight.numel() for part in connectors for each in _linears(part)),
    }
    layers = int(getattr(config, "depth", None) or config.num_hidden_layers)
    width, _ = adapter.vision_width(model.config)
    if not hasattr(config, "spatial_merge_size"):
        side = _first(config.image_size) // _first(config.patch_size)
        ratio = getattr(model.config, "downsample_ratio", 1.0)
        extra = int(hasattr(tower.embeddings, "cls_token"))
        return VisionTowerSize(
            **own, merge=round(1 / ratio**2), width=width, full=layers, side=side, extra=extra
        )
    whole = getattr(config, "fullatt_block_indexes", None)
    full = layers if whole is None else len(whole)
    window = 0 if whole is None else config.window_size // config.patch_size
    return VisionTowerSize(
        **own,
        merge=config.spatial_merge_size**2,
        width=width,
        full=full,
        windowed=layers - full,
        window=window,
    )


def language_model_size(model: Any) -> LanguageModelSize:
    """Sizes of a transformers model's language model."""
    config = model.config.get_text_config()
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return LanguageModelSize(
        linear=sum(each.weight.numel() for each in _linears(model.model.language_model)),
        head=model.lm_head.weight.numel(),
        layers=config.num_hidden_layers,
        width=config.num_attention_heads * size,
        kv_numbers=2 * config.num_hidden_layers * config.num_key_value_heads * size,
        bytes=torch.empty((), dtype=model.dtype).element_size(),
    )


def _prefixes(group: Sequence[Prepared]) -> Iterator[tuple[int, list[Prepared]]]:
    """Prompts with the same prefix (the tokens up to the last visual one), and its length."""
    alike: dict[bytes, list[Prepared]] = {}
    for item in group:
        alike.setdefault(item.input_ids[: item.prefix].tobytes(), []).append(item)
    for items in alike.values():
        yield items[0].prefix, items


def _linears(part: nn.Module) -> Iterator[nn.Linear]:
    return (each for each in part.modules() if isinstance(each, nn.Linear))


def _first(size: Any) -> int:
    return int(size[0] if isinstance(size, list | tuple) else size)


def _squares(length: int, window: int) -> int:
    """Sum of the squares of the pieces that windows cut ``length`` into."""
    if not window:
        return 0
    return length // window * window**2 + (length % window) ** 2
