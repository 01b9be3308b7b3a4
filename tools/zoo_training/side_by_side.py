"""Many models in training at once, on one GPU: their weights stacked, one product for all of them.

A tiny model leaves a GPU idle between its kernels. Here the models of a zoo take their steps together:
:func:`torch.vmap` maps the decoder of :mod:`tools.zoo_training.decoder` over a first axis that counts
models, and scenes are drawn once a seed for all variants. The steps are those of
:class:`tools.zoo_training.train.Trainer` (a test compares them), and so are the states that are kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name everybody uses)
from torch.utils.data import DataLoader, Dataset

from evalkit.rope.variants import RopeVariant
from tools.zoo_training.answers import EXACT, Precision
from tools.zoo_training.batches import (
    IGNORED,
    MIX,
    Collator,
    PackedScene,
    attention_mask,
    batch_of,
    batch_positions,
    packed_training_scenes,
)
from tools.zoo_training.decoder import decoder_weights, layers_of_decoder, mask_bias
from tools.zoo_training.held_out import held_out_scenes, percentages
from tools.zoo_training.optimizer import Optimizer, rate
from tools.zoo_training.train import EVALUATE_EVERY, READING_STEPS, Trainer

_LOG = logging.getLogger("tools.zoo_training.side_by_side")


class SharedBatch(NamedTuple):
    """What all variants see of a batch; ``S`` seeds, ``B`` scenes, ``L`` tokens, ``P`` position designs.

    ``ids``, ``cells``, ``part``, ``labels``, ``weights`` [S, B, L] as in ``TrainingBatch``;
    ``positions`` [S, P, 3, B, L].
    """

    ids: Tensor
    cells: Tensor
    part: Tensor
    labels: Tensor
    weights: Tensor
    positions: Tensor

    def to(self, device: str) -> SharedBatch:
        """The same on a device."""
        return SharedBatch(*(each.to(device, non_blocking=True) for each in self))


def shared_batch(by_seed: Sequence[Sequence[PackedScene]], variants: Sequence[RopeVariant]) -> SharedBatch:
    """Scenes of every seed as one batch, with the positions of several variants."""
    length = MIX.clip_length
    batches = [batch_of(packed, variants[0], length) for packed in by_seed]
    positions = [torch.stack([batch_positions(some, each, length) for each in variants]) for some in by_seed]
    return SharedBatch(
        ids=torch.stack([each.ids for each in batches]),
        cells=torch.stack([each.cells for each in batches]),
        part=torch.stack([each.part for each in batches]),
        labels=torch.stack([each.labels for each in batches]),
        weights=torch.stack([each.weights for each in batches]),
        positions=torch.stack(positions),
    )


class _Steps(Dataset[SharedBatch]):
    """The batches of the steps of a training, drawn by the processes of a ``DataLoader``."""

    def __init__(
        self, collator: Collator, seeds: Sequence[int], variants: Sequence[RopeVariant], begin: int, end: int
    ) -> None:
        self._collator, self._seeds, self._variants = collator, seeds, variants
        self._begin, self._end = begin, end

    def __len__(self) -> int:
        return self._end - self._begin

    def __getitem__(self, index: int) -> SharedBatch:
        step = self._begin + index
        by_seed = [packed_training_scenes(self._collator, seed, step) for seed in self._seeds]
        return shared_batch([[*images, *clips] for images, clips in by_seed], self._variants)


class SideBySide:
    """Trainers that take their steps together.

    Args:
        trainers: at the same step of trainings of the same length, of any variants and seeds.
        device: where they are computed.
    """

    def __init__(self, trainers: Sequence[Trainer], device: str = "cuda") -> None:
        self.trainers, self.device = trainers, device
        self.step, self.steps = trainers[0].step, trainers[0].steps
        if any((each.step, each.steps) != (self.step, self.steps) for each in trainers):
            raise ValueError("trainings of different lengths, or at different steps, take no steps together")
        self.seeds = sorted({each.seed for each in trainers})
        self._seed_of = torch.tensor([self.seeds.index(each.seed) for each in trainers], device=device)
        by_variant = {each.variant: each for each in trainers}
        names = list(by_variant)
        self._variant_of = torch.tensor([names.index(each.variant) for each in trainers], device=device)
        self._texts = [each.model.model.language_model for each in by_variant.values()]
        self._rotaries = [text.rotary_emb.to(device) for text in self._texts]
        self._set_positions([each.collator.variant for each in by_variant.values()])
        self._merger = trainers[0].model.model.visual.merger
        self._patches = trainers[0].patches.to(device)
        self._stack()
        decode = torch.vmap(self._decode, in_dims=(0, 0, 0, 0, 0, None))
        self._decoders = {True: torch.compile(decode, dynamic=False), False: decode}
        self._held_out = list(self._held_out_batches())

    def _set_positions(self, variants: Sequence[RopeVariant]) -> None:
        """Variants that differ in their frequencies alone share positions."""
        designs = [each.position for each in variants]
        self._distinct = [each for i, each in enumerate(variants) if designs.index(each.position) == i]
        kept = [each.position for each in self._distinct]
        self._positions_of = [kept.index(design) for design in designs]

    def _stack(self) -> None:
        """Stack what is trained, and the optimizers' states."""
        trained = [
            {name: each for name, each in trainer.model.model.named_parameters() if each.requires_grad}
            for trainer in self.trainers
        ]
        self.weights: dict[str, Tensor] = {
            name: nn.Parameter(torch.stack([each[name].detach() for each in trained]).to(self.device))
            for name in trained[0]
        }
        layers = [each for name, each in self.weights.items() if name.startswith("language_model.layers.")]
        others = [self.weights[f"visual.merger.{name}"] for name, _ in self._merger.named_parameters()]
        others += [self.weights[f"language_model.{name}.weight"] for name in ("embed_tokens", "norm")]
        self._optimizer = Optimizer(layers, others, stacked=True)
        self._optimizer.load_state_dicts([each.optimizer.state_dict() for each in self.trainers])

    def unstack(self) -> None:
        """Give every trainer its weights, its optimizer's state, and the step that it is at."""
        for number, trainer in enumerate(self.trainers):
            own = dict(trainer.model.model.named_parameters())
            with torch.no_grad():
                for name, stacked in self.weights.items():
                    own[name].copy_(stacked[number])
            trainer.optimizer.load_state_dict(self._optimizer.state_dict_of(number))
            trainer.step = self.step

    def logits(self, batch: SharedBatch, precision: Precision) -> Tensor:
        """Logits ``[models, B, L, vocabulary]`` of all tokens of a batch."""
        seeds = self._seed_of if len(batch.ids) > 1 else torch.zeros_like(self._seed_of)
        embedded = torch.vmap(self._embed)(self.weights, batch.ids[seeds], batch.cells[seeds])
        bias = torch.stack([mask_bias(attention_mask(each)) for each in batch.part])[seeds]
        cos, sin = self._rotation(batch, seeds)
        text = {name: each for name, each in self.weights.items() if name.startswith("language_model.")}
        hidden = self._decoders[precision.compiled](embedded, bias, cos, sin, text, precision.dtype)
        return hidden @ self.weights["language_model.embed_tokens.weight"].mT[:, None]

    def _embed(self, weights: dict[str, Tensor], ids: Tensor, cells: Tensor) -> Tensor:
        merger = {name: weights[f"visual.merger.{name}"] for name, _ in self._merger.named_parameters()}
        merged = torch.func.functional_call(self._merger, merger, (self._patches,))
        embedded = F.embedding(ids, weights["language_model.embed_tokens.weight"])
        return torch.where((cells >= 0)[..., None], merged[cells.clamp(min=0)], embedded)

    def _rotation(self, batch: SharedBatch, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Cos and sin ``[models, B, heads, L, head_dim / 2]``."""
        count, _, axes, scenes, length = batch.positions.shape
        heads = self._texts[0].config.num_attention_heads
        found = []
        for rotary, design in zip(self._rotaries, self._positions_of, strict=True):
            positions = batch.positions[:, design].transpose(0, 1).reshape(axes, count * scenes, length)
            pair = torch.stack(rotary(batch.weights, positions))
            pair = pair[..., : pair.shape[-1] // 2]
            pair = pair[:, :, None] if pair.ndim == 4 else pair
            found.append(pair.expand(-1, -1, heads, -1, -1).reshape(2, count, scenes, heads, length, -1))
        both = torch.stack(found, 1)
        cos, sin = both[:, self._variant_of, seeds]
        return cos, sin

    def _decode(
        self, hidden: Tensor, bias: Tensor, cos: Tensor, sin: Tensor, text: dict[str, Tensor], dtype: Any
    ) -> Tensor:
        config = self._texts[0].config
        layers = config.num_hidden_layers
        named = {name.removeprefix("language_model."): each for name, each in text.items()}
        rotation = [(cos, sin)] * layers
        settings = (config.num_attention_heads, config.rms_norm_eps, dtype)
        weights = decoder_weights(named, layers)
        return layers_of_decoder(hidden, bias, rotation, weights, named["norm.weight"], *settings)

    def train_step(self, batch: SharedBatch, precision: Precision) -> Tensor:
        """Take one optimizer step; returns each model's loss."""
        logits = self.logits(batch, precision)
        labels, weights = batch.labels[self._seed_of], batch.weights[self._seed_of]
        asked = (labels != IGNORED).float()
        weights = weights * asked if self.step >= READING_STEPS else asked
        losses = F.cross_entropy(
            logits.flatten(0, 2), labels.flatten(), reduction="none", ignore_index=IGNORED
        )
        each = (losses.view_as(weights) * weights).sum((1, 2)) / weights.sum((1, 2))
        self._optimizer.step(each.sum(), rate(self.step, self.steps))
        self.step += 1
        return each.detach()

    def _held_out_batches(self) -> Iterator[tuple[SharedBatch, list[list[str]]]]:
        """Batches that all seeds share, and the kinds of each scene's questions."""
        collator = self.trainers[0].collator
        for task, scenes, length, noise in held_out_scenes():
            packed = collator.pack(scenes, noise, MIX.questions, length)
            kinds = [[f"{task}/{kind}" for kind in each.kinds] for each in packed]
            yield shared_batch([packed], self._distinct).to(self.device), kinds

    @torch.no_grad()
    def evaluate(self) -> None:
        """Exact answers on held-out scenes, as ``Trainer.evaluate``; kept by every trainer."""
        found: list[dict[str, list[bool]]] = [{} for _ in self.trainers]
        for batch, kinds in self._held_out:
            labels = batch.labels[0]
            missed = (self.logits(batch, EXACT).argmax(-1) != labels) & (labels != IGNORED)
            part = batch.part[0].clamp(min=0).expand(missed.shape)
            count = max(map(len, kinds))
            wrong = torch.zeros((*missed.shape[:2], count + 1), device=self.device)
            right = (wrong.scatter_add(2, part, missed.float())[:, :, 1:] == 0).tolist()
            for own, by_scene in zip(found, right, strict=True):
                for names, answers in zip(kinds, by_scene, strict=True):
                    for name, answer in zip(names, answers, strict=False):  # padded to the most questions
                        own.setdefault(name, []).append(answer)
        for trainer, own in zip(self.trainers, found, strict=True):
            trainer.held_out[self.step] = percentages(own)

    def run(self, stop: int | None = None, *, workers: int = 0) -> None:
        """Train up to ``stop`` (default: the end); ``workers`` processes draw scenes."""
        precision = self.trainers[0].precision
        end = self.steps if stop is None else stop
        began, first, recent = time.perf_counter(), self.step, []
        for batch in self._batches(end, workers):
            recent.append(self.train_step(batch.to(self.device), precision))
            if self.step % 50 == 0:
                means = torch.stack(recent).mean(0).tolist()
                recent.clear()
                for trainer, mean in zip(self.trainers, means, strict=True):
                    trainer.losses.append(mean)
            if self.step % EVALUATE_EVERY == 0:
                self.evaluate()
                self.save_states()
                seconds = (time.perf_counter() - began) / (self.step - first)
                _LOG.info("step %d, %.4f s/step of %d models", self.step, seconds, len(self.trainers))
        for trainer in self.trainers:
            trainer.seconds += (time.perf_counter() - began) / len(self.trainers)
        self.save_states()

    def save_states(self) -> None:
        """Write what a later run needs to continue, together or alone."""
        self.unstack()
        for trainer in self.trainers:
            trainer.save_state()

    def _batches(self, end: int, workers: int) -> DataLoader[SharedBatch]:
        collator = self.trainers[0].collator
        steps = _Steps(collator, self.seeds, self._distinct, self.step, end)
        pinned = self.device != "cpu"
        if not workers:
            return DataLoader(steps, batch_size=None, pin_memory=pinned)
        return DataLoader(steps, batch_size=None, num_workers=workers, prefetch_factor=8, pin_memory=pinned)


def train_side_by_side(
    trainers: Sequence[Trainer], out: Path, device: str, workers: int, stop: int | None = None
) -> list[Path]:
    """Train models from where they were, those at the same step together; returns checkpoints' folders."""
    for trainer in trainers:
        trainer.resume()
    for step in sorted({trainer.step for trainer in trainers if trainer.step < trainer.steps}):
        SideBySide([each for each in trainers if each.step == step], device).run(stop, workers=workers)
    return [trainer.save(out / f"seed-{trainer.seed}") for trainer in trainers]
