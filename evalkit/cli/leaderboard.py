"""``evalkit leaderboard``: one CSV row per model and variant."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("leaderboard")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--csv", "target", required=True, type=click.Path(path_type=Path), help="File to write or update."
)
def command(runs: tuple[Path, ...], target: Path) -> int:
    """Write the runs' arms into a leaderboard CSV; rows that are there already are updated."""
    from evalkit.api import leaderboard

    rows = leaderboard(runs, target)
    click.echo(f"{target}: {rows} rows")
    return 0
