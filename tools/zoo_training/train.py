"""Train the built-in checkpoints: ``python -m tools.zoo_training.train [--variant NAME ...]``.

Stage 0 makes the common start: a language model on text (:mod:`tools.zoo_training.language`) and a vision
tower on single cells (:mod:`tools.zoo_training.tower`), which is then frozen. Stage 1 trains the merger and
the language model once per RoPE variant, from the same weights, on the same samples in the same
order, with the same schedule; only the variant differs, and nothing is tuned per variant.

Everything is a function of the seed and the step, so a run that was stopped continues where it was
(its state lies in ``--state``; delete that folder to begin afresh). The last digits depend on the
hardware and on the number of threads. A step takes 0.2 s of one CPU core.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name everybody uses)

from evalkit.core.atomic_files import atomic_path
from evalkit.data.cache import cache_root
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant
from evalkit.zoo import CHECKPOINTS, VARIANTS
from tools.zoo_training import language, tiny_model, tower
from tools.zoo_training.batches import IGNORED, READING_STEPS, Collator, TrainingBatch, training_scenes
from tools.zoo_training.prompts import build_tokenizer, cell_tokens

SEED = 20260901
STEPS = 4200
WARM_UP = 100
PEAK_RATE = 2e-3
SAVE_EVERY = 250

_LOG = logging.getLogger("tools.zoo_training.train")


@dataclass
class Trainer:
    """One variant in training. ``losses`` holds the mean loss of every 50 steps."""

    variant: str
    steps: int
    folder: Path
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.tokenizer = build_tokenizer()
        self.model = tiny_model.build(self.tokenizer.get_vocab_size(), self.variant, SEED)
        self._load_start_weights()
        self.patches = tower.feature_table(self.model.model.visual, SEED).to(self.device)
        self.model.to(self.device)
        rope = parse_variant(self.variant)
        self.collator = Collator(self.tokenizer, install(self.model, rope).resolved)
        self.optimiser = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=PEAK_RATE,
            betas=(0.9, 0.98),
            weight_decay=0.05,
        )
        self.step, self.seconds = 0, 0.0
        self.losses: list[float] = []

    def _load_start_weights(self) -> None:
        """Train stage 0, or read it where another variant's run has left it."""
        path = self.folder / "start.pt"
        if path.exists():
            self.model.load_state_dict(torch.load(path, weights_only=True))
        else:
            text, visual = self.model.model.language_model, self.model.model.visual
            language.train(text, self.tokenizer, SEED, _LOG.info)
            named = torch.tensor(cell_tokens(self.tokenizer))
            tower.train(visual, text.embed_tokens.weight.detach()[named], SEED, _LOG.info)
            _write(path, self.model.state_dict())
        tower.freeze(self.model.model.visual)

    @property
    def _state(self) -> Path:
        return self.folder / f"{self.variant}.pt"

    def resume(self) -> None:
        """Continue from the last kept state, if there is one."""
        if not self._state.exists():
            return
        kept = torch.load(self._state, weights_only=True, map_location=self.device)
        self.model.load_state_dict(kept["model"])
        self.optimiser.load_state_dict(kept["optimiser"])
        self.step, self.losses, self.seconds = kept["step"], kept["losses"], kept["seconds"]
        _LOG.info("%s: continuing from step %d", self.variant, self.step)

    def save_state(self) -> None:
        """Write everything that a later run needs to continue."""
        _write(
            self._state,
            {
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "losses": self.losses,
                "seconds": self.seconds,
            },
        )

    def logits(self, batch: TrainingBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, labels and weights of the answer tokens: ``[n, vocabulary]``, ``[n]``, ``[n]``."""
        text = self.model.model.language_model
        ids, cells, labels = (x.to(self.device) for x in (batch.ids, batch.cells, batch.labels))
        merged = self.model.model.visual.merger(self.patches)
        embedded = text.embed_tokens(ids)
        embedded = torch.where((cells >= 0)[..., None], merged[cells.clamp(min=0)], embedded)
        hidden = text(
            inputs_embeds=embedded,
            attention_mask={"full_attention": batch.mask.to(self.device)},
            position_ids=batch.positions.to(self.device),
            use_cache=False,
        ).last_hidden_state
        chosen = labels != IGNORED
        weights = batch.weights.to(self.device)[chosen]
        return hidden[chosen] @ text.embed_tokens.weight.T, labels[chosen], weights

    def train_step(self) -> float:
        """Take one optimiser step; returns the loss."""
        rate = _rate(self.step, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        noise = np.random.default_rng([SEED, self.step])
        parts = [self.logits(self.collator.collate(scenes, noise)) for scenes in training_scenes(self.step)]
        logits, labels, weights = (torch.cat(column) for column in zip(*parts, strict=True))
        if self.step < READING_STEPS:
            weights = torch.ones_like(weights)
        loss = (weights * F.cross_entropy(logits, labels, reduction="none")).sum() / weights.sum()
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return float(loss.item())

    def run(self, stop: int | None = None) -> None:
        """Train up to ``stop`` (default: the end), keeping the state on the way."""
        recent: list[float] = []
        while self.step < (self.steps if stop is None else stop):
            began = time.perf_counter()
            recent.append(self.train_step())
            self.seconds += time.perf_counter() - began
            if self.step % 50 == 0:
                self.losses.append(sum(recent) / len(recent))
                recent.clear()
                rate = self.seconds / self.step
                _LOG.info(
                    "%s: step %d, loss %.4f, %.3f s/step", self.variant, self.step, self.losses[-1], rate
                )
            if self.step % SAVE_EVERY == 0:
                self.save_state()

    def save(self, out: Path) -> Path:
        """Write the checkpoint folder that ``--model tiny`` resolves to."""
        folder = out / f"tiny-{self.variant}"
        tiny_model.save(self.model.cpu(), self.tokenizer, folder)
        return folder


def _rate(step: int, steps: int) -> float:
    """Linear warm-up, constant, then linearly down over the last quarter.

    Until then a run can be continued towards another number of steps.
    """
    return PEAK_RATE * min(1.0, (step + 1) / WARM_UP, (steps - step) / (steps / 4))


def _write(path: Path, content: Any) -> None:
    with atomic_path(path) as place:
        torch.save(content, place)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the variants asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tools.zoo_training.train", description=__doc__)
    parser.add_argument("--variant", nargs="+", default=list(VARIANTS), help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=CHECKPOINTS)
    parser.add_argument("--state", type=Path, default=cache_root() / "zoo_training")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="torch threads (default: torch's choice)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    for variant in options.variant:
        trainer = Trainer(variant, options.steps, options.state, options.device)
        trainer.resume()
        trainer.run()
        trainer.save_state()
        _LOG.info("%s: %s", variant, trainer.save(options.out))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
