"""Train tiny models: ``python -m tools.zoo_training.train --variant NAME ... --seed N ...``.

All start from the same weights (:mod:`tools.zoo_training.start`); the vision tower is frozen from then on.
For a seed, the merger and the language model of every variant are trained on the same samples in the same
order, with the same schedule for the same number of steps; only the variant differs, and nothing is tuned per
variant. A seed draws other samples.

Everything is a function of the seed and the step, so a run that was stopped continues where it was
(its state lies in ``--state``; delete that folder to begin afresh). The last digits depend on the
hardware and on the number of threads.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from evalkit.core.atomic_files import atomic_path
from evalkit.core.errors import UsageError
from evalkit.data.cache import cache_root
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant
from evalkit.zoo import VARIANTS
from tools.zoo_training import start, tiny_model, tower
from tools.zoo_training.answers import EXACT, Precision, answer_logits, answer_loss
from tools.zoo_training.batches import Collator, training_batches
from tools.zoo_training.held_out import held_out_accuracy
from tools.zoo_training.optimizer import Optimizer, fall_begins, rate
from tools.zoo_training.prompts import build_tokenizer

START_SEED = 20260901
STEPS = 12_000
READING_STEPS = 1000
"""Until this step every answer token counts alike, so that reading aloud dominates; then every question."""

EVALUATE_EVERY = 500
STATE = cache_root() / "zoo_training"

_LOG = logging.getLogger("tools.zoo_training.train")


@dataclass
class Trainer:
    """One variant in training, on the samples of one seed.

    ``losses`` holds the mean loss of every 50 steps, ``held_out`` the accuracy at every ``EVALUATE_EVERY``.
    """

    variant: str
    seed: int
    steps: int
    folder: Path
    precision: Precision = field(default_factory=Precision)

    def __post_init__(self) -> None:
        self.tokenizer = _tokenizer()
        self.model = tiny_model.build(self.tokenizer.get_vocab_size(), self.variant, START_SEED)
        self._load_start_weights()
        visual, text = self.model.model.visual, self.model.model.language_model
        self.patches = tower.feature_table(visual, START_SEED)
        self.collator = Collator(self.tokenizer, install(self.model, parse_variant(self.variant)).resolved)
        layers = list(text.layers.parameters())
        others = [*visual.merger.parameters(), text.embed_tokens.weight, text.norm.weight]
        self.optimizer = Optimizer(layers, others)
        self.step, self.seconds = 0, 0.0
        self.losses: list[float] = []
        self.held_out: dict[int, Mapping[str, float]] = {}

    def _load_start_weights(self) -> None:
        """Train the start, or read it where another variant's run has left it."""
        path = self.folder / "start.pt"
        if path.exists():
            self.model.load_state_dict(torch.load(path, weights_only=True))
        else:
            start.train(self.model, self.tokenizer, START_SEED, self.precision, _LOG.info)
            _write(path, self.model.state_dict())
        tower.freeze(self.model.model.visual)

    @property
    def name(self) -> str:
        """Of the variant and the seed, in logs."""
        return f"{self.variant}, seed {self.seed}"

    @property
    def _state(self) -> Path:
        return self.folder / f"seed-{self.seed}" / f"{folder_name(self.variant)}.pt"

    def resume(self) -> None:
        """Continue from the last kept state, if there is one.

        Raises:
            UsageError: its rate has begun to fall, for a training of another number of steps.
        """
        if not self._state.exists():
            return
        kept = torch.load(self._state, weights_only=True)
        if kept["steps"] != self.steps and kept["step"] > fall_begins(kept["steps"]):
            raise UsageError(
                f"`{self._state}` is at step {kept['step']} of {kept['steps']}, where the rate falls",
                f"a training of {self.steps} steps that goes on from there is not the one that begins afresh",
                "give another folder as --state, with start.pt of this one in it",
            )
        self.model.load_state_dict(kept["model"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.step, self.losses, self.seconds = kept["step"], kept["losses"], kept["seconds"]
        self.held_out = kept["held_out"]
        _LOG.info("%s: continuing from step %d", self.name, self.step)

    def save_state(self) -> None:
        """Write everything that a later run needs to continue."""
        _write(
            self._state,
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "steps": self.steps,
                "losses": self.losses,
                "seconds": self.seconds,
                "held_out": self.held_out,
            },
        )

    def train_step(self) -> float:
        """Take one optimizer step; returns the loss."""
        batches = training_batches(self.collator, self.seed, self.step)
        logits = [answer_logits(self.model, batch, self.patches, self.precision) for batch in batches]
        loss = answer_loss(logits, batches, by_question=self.step >= READING_STEPS)
        self.optimizer.step(loss, rate(self.step, self.steps))
        self.step += 1
        return float(loss.item())

    @torch.no_grad()
    def evaluate(self) -> Mapping[str, float]:
        """Exact answers on held-out scenes, in percent, by kind of question."""
        return held_out_accuracy(
            self.collator, lambda batch: answer_logits(self.model, batch, self.patches, EXACT)
        )

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
            if self.step % EVALUATE_EVERY == 0:
                self.held_out[self.step] = self.evaluate()
                self.save_state()
                told = ", ".join(f"{kind} {value:.0f}" for kind, value in self.held_out[self.step].items())
                speed = self.seconds / self.step
                _LOG.info(
                    "%s: step %d, loss %.4f, %.3f s/step; %s",
                    self.name,
                    self.step,
                    self.losses[-1],
                    speed,
                    told,
                )

    def save(self, out: Path) -> Path:
        """Write the checkpoint folder."""
        folder = out / folder_name(self.variant)
        tiny_model.save(self.model, self.tokenizer, folder)
        return folder


@cache
def _tokenizer() -> Tokenizer:
    return build_tokenizer()


def folder_name(variant: str) -> str:
    """Of a checkpoint: that of the zoo for a variant's plain name.

    >>> folder_name("mrope-i"), folder_name("position=diagonal,frequency=interleave")
    ('tiny-mrope-i', 'tiny-position-diagonal-frequency-interleave')
    """
    return "tiny-" + re.sub(r"[^A-Za-z0-9.]+", "-", variant).strip("-")


def train_model(variant: str, seed: int, steps: int, state: Path, out: Path, precision: Precision) -> Path:
    """Train one model, from where it was, and write its checkpoint; returns its folder."""
    torch.set_num_threads(1)
    trainer = Trainer(variant, seed, steps, state, precision)
    trainer.resume()
    trainer.run()
    trainer.save_state()
    return trainer.save(out / f"seed-{seed}")


def _write(path: Path, content: Any) -> None:
    with atomic_path(path) as place:
        torch.save(content, place)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the models asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tools.zoo_training.train", description=__doc__)
    parser.add_argument("--variant", nargs="+", default=list(VARIANTS), help="default: %(default)s")
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--state", type=Path, default=STATE)
    parser.add_argument("--out", type=Path, default=STATE / "checkpoints", help="default: %(default)s")
    parser.add_argument("--eager", action="store_true", help="in float32, without a compiler")
    options = parser.parse_args(arguments)
    log_to_terminal()
    precision = EXACT if options.eager else Precision()
    for seed in options.seed:
        for variant in options.variant:
            try:
                folder = train_model(variant, seed, options.steps, options.state, options.out, precision)
            except UsageError as error:
                parser.error(str(error))
            _LOG.info("%s", folder)
    return 0


def log_to_terminal() -> None:
    """Show how the training goes."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")


if __name__ == "__main__":
    raise SystemExit(main())
