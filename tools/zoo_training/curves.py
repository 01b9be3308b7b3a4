"""How the zoo's held-out accuracy rose in training: ``python -m tools.zoo_training.curves [STATE]``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import torch

from tools.zoo_training.plan import zoo_variants
from tools.zoo_training.train import EVALUATE_EVERY, STATE, folder_name

STILL = 1.0
"""Points by which the mean over all kinds of question may rise in the last ``EVALUATE_EVERY`` steps of a
training that has stopped rising."""

LEVEL = 90
"""Accuracy in percent by which trainings are told apart that end alike."""


def means(held_out: Mapping[int, Mapping[str, float]]) -> dict[int, float]:
    """Accuracy in percent after so many steps: the mean over the kinds of question."""
    return {step: sum(kinds.values()) / len(kinds) for step, kinds in sorted(held_out.items())}


def has_stopped_rising(curve: Mapping[int, float]) -> bool:
    """Whether the last evaluation is less than ``STILL`` points above the one before."""
    return rise(curve) < STILL


def rise(curve: Mapping[int, float]) -> float:
    """From the evaluation before the last one to the last, in points."""
    before, last = (curve[step] for step in sorted(curve)[-2:])
    return last - before


def table(kept: Mapping[str, Sequence[Mapping[int, float]]], every: int = EVALUATE_EVERY) -> str:
    """A table of Markdown: for each variant mean and standard deviation of its seeds' curves by step, by how
    much they still rose at the end, how many of them have stopped rising, and after how many steps the first
    and the last of them reached ``LEVEL``; ``every`` so many steps.
    """
    all_steps = sorted({step for curves in kept.values() for curve in curves for step in curve})
    steps = [step for step in all_steps if step % every == 0]
    lines = [
        "| variant | "
        + " | ".join(f"{step:,}" for step in steps)
        + f" | last rise | stopped rising | {LEVEL} after |",
        "|---|" + "---:|" * len(steps) + "---:|---|---:|",
    ]
    for name, curves in kept.items():
        cells = [_cell([curve[step] for curve in curves if step in curve]) for step in steps]
        rises = [rise(curve) for curve in curves]
        stopped = f"{sum(map(has_stopped_rising, curves))} of {len(curves)}"
        risen = f"{min(rises):.1f} to {max(rises):.1f}"
        lines.append(f"| `{name}` | " + " | ".join([*cells, risen, stopped, _reached(curves)]) + " |")
    return "\n".join(lines)


def _reached(curves: Sequence[Mapping[int, float]]) -> str:
    found = [min((step for step, value in curve.items() if value >= LEVEL), default=0) for curve in curves]
    return "" if 0 in found else " to ".join(f"{step:,}" for step in sorted({min(found), max(found)}))


def _cell(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.1f}" for value in values)
    return f"{mean(values):.1f} ± {stdev(values):.1f}"


def main() -> int:
    """Print the curves of every variant that was trained in a folder."""
    parser = argparse.ArgumentParser(prog="python -m tools.zoo_training.curves", description=__doc__)
    parser.add_argument("state", type=Path, nargs="?", default=STATE)
    parser.add_argument("--every", type=int, default=EVALUATE_EVERY, help="steps between columns")
    options = parser.parse_args()
    folder = options.state
    kept: dict[str, list[dict[int, float]]] = {}
    for variant in zoo_variants():
        for path in sorted(folder.glob(f"seed-*/{folder_name(variant)}.pt")):
            held_out = torch.load(path, weights_only=True)["held_out"]
            kept.setdefault(variant, []).append(means(held_out))
    if not kept:
        parser.error(f"no training of the zoo has left its state in `{folder}`")
    print(table(kept, options.every), f"\nevaluated every {EVALUATE_EVERY} steps", sep="\n")  # noqa: T201 (a tool's output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
