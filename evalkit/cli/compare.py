"""``evalkit compare``: finished runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evalkit.cli.options import json_option
from evalkit.core.console import say
from evalkit.core.strict_json import to_json

FORMATS = ("terminal", "markdown", "csv", "latex", "html")


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--baseline", metavar="ARM", help="Add paired differences to this arm (its name or variant).")
@click.option(
    "--correction",
    type=click.Choice(["holm", "bh", "none"]),
    default="holm",
    show_default=True,
    help="For testing many benchmarks: Holm's, or Benjamini and Hochberg's.",
)
@click.option("--allow-mismatch", is_flag=True, help="Compare the samples that all arms share, and say so.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="terminal", help="Layout.")
@click.option("--breakdown", is_flag=True, help="Add each benchmark's categories.")
@click.option(
    "--reference",
    metavar="NAME",
    help="A published table to set beside the runs, such as `paper-qwen2.5-vl-7b`.",
)
@click.option(
    "--backend-parity",
    "parity",
    is_flag=True,
    help="Of runs on two engines (`run --engine vllm`): how many answers and scores differ, and where.",
)
@json_option
def command(
    runs: tuple[Path, ...], form: str, breakdown: bool, parity: bool, as_json: bool, **options: Any
) -> int:
    """Compare the variants of one or several runs: rows are benchmarks, columns variants.

    With a baseline, every difference is tested on the samples that both arms answered.
    """
    from evalkit.api import backend_parity, compare
    from evalkit.report import tables

    if parity:
        from evalkit.cli.outcome import show_parity

        show_parity(backend_parity(*runs), as_json)
        return 0
    comparison = compare(*runs, **options)
    if as_json:
        say(to_json(comparison.to_json()))
    elif form == "terminal":
        from evalkit.cli.outcome import print_comparison

        print_comparison(comparison, breakdown)
    elif form in ("markdown", "html"):
        say(getattr(tables, form)(comparison, breakdown))
    elif form == "latex":
        say(tables.latex(comparison))
    else:
        say(tables.csv(comparison), nl=False)
    return 0
