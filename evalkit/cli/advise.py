"""``evalkit advise``: which variant for one's own tasks?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from evalkit.cli.advise_choice import choice_options, show_choice
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
@choice_options
@json_option
def command(
    runs: tuple[Path, ...],
    weights: tuple[str, ...],
    diagnostics: tuple[Path, ...],
    kv_heads: int | None,
    context: int | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Rank the variants of runs by your weights, and how often each comes out first in resamples."""
    from evalkit.api import advise
    from evalkit.diagnose.choice_of_runs import choose_for_runs

    chosen = dict(map(_weight, weights)) or None
    with steps_shown():
        found = advise(*runs, weights=chosen, **options)
        choice = choose_for_runs(
            *runs,
            weights=chosen,
            allow_mismatch=options["allow_mismatch"],
            diagnostics=diagnostics,
            kv_heads=kv_heads,
            context=context,
        )
    if as_json:
        said = {"verdict": found.verdict(), "conditions": found.conditions(), "choice": asdict(choice)}
        say(to_json({**asdict(found), **said}))
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
    show_choice(choice)
    return 0


def _weight(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        return name, float(number)
    except ValueError:
        raise UsageError(
            f"weight `{text}`", "it is not NAME=NUMBER", "write `--weight docvqa_val=2`"
        ) from None
