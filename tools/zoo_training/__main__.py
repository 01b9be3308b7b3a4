"""Train and evaluate the whole zoo: ``python -m tools.zoo_training [--device cuda | --jobs N]``.

Given again after it was stopped, it goes on where it was. Every checkpoint answers the mini-suite through
``evalkit run`` as any other; ``evalkit compare --group-by rope`` and
``python -m tools.zoo_training.directions`` make tables of it. The checkpoints of seed 0 and the paper's
table 2 are those that evalkit ships.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from evalkit.zoo import VARIANTS
from tools.zoo_training.answers import Precision
from tools.zoo_training.plan import zoo_models, zoo_variants
from tools.zoo_training.side_by_side import train_side_by_side
from tools.zoo_training.train import STATE, STEPS, Trainer, folder_name, log_to_terminal, train_model

_LOG = logging.getLogger("tools.zoo_training")


def main() -> int:
    """Train what isn't trained, and evaluate all of it."""
    parser = argparse.ArgumentParser(prog="python -m tools.zoo_training", description=__doc__)
    parser.add_argument("--variant", nargs="+", default=zoo_variants(), help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="models at a time, one core each (default: 2)")
    parser.add_argument("--device", help="train all models side by side there, as on a GPU: cuda")
    parser.add_argument("--workers", type=int, default=12, help="with --device: processes that draw scenes")
    parser.add_argument("--state", type=Path, default=STATE)
    parser.add_argument("--out", type=Path, default=STATE / "checkpoints", help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=Path("results/zoo"), help="default: %(default)s")
    options = parser.parse_args()
    log_to_terminal()
    Trainer(VARIANTS[0], 0, STEPS, options.state)  # leaves the common start there
    models = list(zoo_models(options.variant))
    if options.device:
        trainers = [Trainer(variant, seed, STEPS, options.state) for variant, seed in models]
        train_side_by_side(trainers, options.out, options.device, options.workers)
        return evaluate(models, options.out, options.results)
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), initializer=log_to_terminal) as pool:
        tasks = [
            pool.submit(train_model, variant, seed, STEPS, options.state, options.out, Precision())
            for variant, seed in models
        ]
        for number, task in enumerate(as_completed(tasks), 1):
            _LOG.info("%d of %d: %s", number, len(models), task.result())
    return evaluate(models, options.out, options.results)


def evaluate(models: Sequence[tuple[str, int]], checkpoints: Path, results: Path) -> int:
    """Answer the mini-suite with every checkpoint, as a user would."""
    command = [sys.executable, "-m", "evalkit", "run", "--tasks", "mini", "--output", str(results)]
    command += ["--rate-limit", "unparsed=0.5"]  # of clips twice as long as any in training
    for variant, seed in models:
        command += ["--model", f"{variant}={checkpoints / f'seed-{seed}' / folder_name(variant)}"]
    return subprocess.run(command, check=False).returncode  # noqa: S603 (this interpreter)


if __name__ == "__main__":
    raise SystemExit(main())
