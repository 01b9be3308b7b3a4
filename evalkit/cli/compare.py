"""``evalkit compare``: finished runs side by side."""

from __future__ import annotations

import json
from pathlib import Path

import click

from evalkit.cli.options import json_option


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--format", "form", type=click.Choice(["terminal", "markdown", "csv"]), default="terminal", help="Layout."
)
@click.option("--breakdown", is_flag=True, help="Add each benchmark's categories (terminal only).")
@click.option(
    "--reference",
    metavar="NAME",
    help="A published table to set beside the runs, such as `paper-qwen2.5-vl-7b`.",
)
@json_option
def command(runs: tuple[Path, ...], form: str, breakdown: bool, reference: str | None, as_json: bool) -> int:
    """Compare the variants of one or several runs: rows are variants, columns benchmarks."""
    from evalkit.api import compare
    from evalkit.report import tables

    comparison = compare(*runs, reference=reference)
    if as_json:
        click.echo(json.dumps(comparison.to_json(), indent=2))
    elif form == "markdown":
        click.echo(tables.markdown(comparison))
    elif form == "csv":
        click.echo(tables.csv(comparison), nl=False)
    else:
        from evalkit.cli.results import print_comparison

        print_comparison(comparison, breakdown)
    return 0
