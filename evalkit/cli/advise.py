"""``evalkit advise``: which variant for one's own tasks?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from evalkit.cli.layout import columns, show
from evalkit.cli.options import group_by_option, json_option, label_option
from evalkit.cli.waiting import steps_shown
from evalkit.core.console import say
from evalkit.core.errors import UsageError
from evalkit.core.strict_json import to_json


@click.command("advise")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--weight",
    "weights",
    multiple=True,
    metavar="NAME=NUMBER",
    help="How much a benchmark (a name, glob or category) matters; what isn't named counts 1.",
)
@click.option("--allow-mismatch", is_flag=True, help="Use the samples that all arms share.")
@label_option
@group_by_option
@json_option
def command(runs: tuple[Path, ...], weights: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Rank the variants of runs by your weights, and how often each comes out first in resamples."""
    from evalkit.api import advise

    chosen = dict(map(_weight, weights)) or None
    with steps_shown():
        found = advise(*runs, weights=chosen, **options)
    if as_json:
        say(to_json({**asdict(found), "verdict": found.verdict(), "conditions": found.conditions()}))
        return 0
    rows = [
        (
            each.arm,
            f"{100 * each.score:.1f}",
            f"{100 * each.low:.1f}–{100 * each.high:.1f}",
            each.best_text(),
        )
        for each in found.ranked
    ]
    show(columns(rows, ("variant", "score", "95% interval", "first in")))
    shown = ", ".join(f"{task} {100 * weight:.0f}%" for task, weight in found.weights.items())
    say(f"\nweights: {shown}\n{found.verdict()}\n{found.conditions()}")
    return 0


def _weight(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        return name, float(number)
    except ValueError:
        raise UsageError(
            f"weight `{text}`", "it is not NAME=NUMBER", "write `--weight docvqa_val=2`"
        ) from None
