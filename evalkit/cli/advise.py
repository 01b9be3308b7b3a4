"""``evalkit advise``: which variant for one's own tasks?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from evalkit.cli.advise_choice import choice_options, show_choice
from evalkit.cli.layout import columns, show
from evalkit.cli.options import json_option
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
    help="How much a benchmark (a name, glob or category) matters; without any, categories count alike.",
)
@click.option("--allow-mismatch", is_flag=True, help="Use the samples that all arms share.")
@choice_options
@json_option
def command(
    runs: tuple[Path, ...],
    weights: tuple[str, ...],
    diagnostics: tuple[Path, ...],
    kv_heads: int | None,
    context: int | None,
    allow_mismatch: bool,
    as_json: bool,
) -> int:
    """Rank the variants of finished runs by your weights, with the probability that each is the best."""
    from evalkit.api import advise
    from evalkit.diagnose.choice_of_runs import choose_for_runs

    chosen = dict(map(_weight, weights)) or None
    found = advise(*runs, weights=chosen, allow_mismatch=allow_mismatch)
    choice = choose_for_runs(
        *runs,
        weights=chosen,
        allow_mismatch=allow_mismatch,
        diagnostics=diagnostics,
        kv_heads=kv_heads,
        context=context,
    )
    if as_json:
        say(to_json({**asdict(found), "verdict": found.verdict(), "choice": asdict(choice)}))
        return 0
    rows = [
        (
            each.arm,
            f"{100 * each.score:.1f}",
            f"{100 * each.low:.1f}–{100 * each.high:.1f}",
            f"{each.best:.0%}",
        )
        for each in found.ranked
    ]
    show(columns(rows, ("variant", "score", "95% interval", "best with")))
    shown = ", ".join(f"{task} {100 * weight:.0f}%" for task, weight in found.weights.items())
    say(f"\nweights: {shown}\n{found.verdict()}")
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
