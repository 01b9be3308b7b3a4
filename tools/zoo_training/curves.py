"""How the zoo's held-out accuracy rose in training: ``python -m tools.zoo_training.curves [STATE]``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch

from tools.zoo_training.train import EVALUATE_EVERY, STATE

STILL = 1.0
"""Points by which the mean over all kinds of question may rise in the last ``EVALUATE_EVERY`` steps of a
training that has stopped rising."""


def means(held_out: Mapping[int, Mapping[str, float]]) -> dict[int, float]:
    """Accuracy in percent after so many steps: the mean over the kinds of question."""
    return {step: sum(kinds.values()) / len(kinds) for step, kinds in sorted(held_out.items())}


def has_stopped_rising(curve: Mapping[int, float]) -> bool:
    """Whether the last evaluation is less than ``STILL`` points above the one before."""
    before, last = (curve[step] for step in sorted(curve)[-2:])
    return last - before < STILL


def table(kept: Mapping[str, Mapping[int, Mapping[str, float]]]) -> str:
    """A table of Markdown: a row for each model, its accuracy by step, and whether it has stopped rising."""
    steps = sorted({step for held_out in kept.values() for step in held_out})
    lines = [
        "| model | " + " | ".join(f"{step:,}" for step in steps) + " | stopped rising |",
        "|---|" + "---:|" * len(steps) + "---|",
    ]
    for name, held_out in kept.items():
        curve = means(held_out)
        cells = [f"{curve[step]:.1f}" if step in curve else "" for step in steps]
        lines.append(
            f"| {name} | " + " | ".join(cells) + f" | {'yes' if has_stopped_rising(curve) else 'no'} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Print the curves of every model that was trained in a folder."""
    parser = argparse.ArgumentParser(prog="python -m tools.zoo_training.curves", description=__doc__)
    parser.add_argument("state", type=Path, nargs="?", default=STATE)
    folder = parser.parse_args().state
    kept = {}
    for path in sorted(folder.glob("seed-*/*.pt")):
        held_out = torch.load(path, weights_only=True)["held_out"]
        kept[f"{path.stem}, {path.parent.name}"] = held_out
    print(table(kept), f"\nevaluated every {EVALUATE_EVERY} steps", sep="\n")  # noqa: T201 (a tool's output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
