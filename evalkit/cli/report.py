"""``evalkit report``: one page about finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evalkit.cli.options import group_by_option, label_option, with_data_root
from evalkit.cli.waiting import steps_shown
from evalkit.core.console import say


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="File.",
)
@click.option("--baseline", metavar="ARM", help="Draw differences to this arm; by default the first.")
@click.option("--reference", metavar="NAME", help="A published table to set beside the runs.")
@click.option("--allow-mismatch", is_flag=True, help="Use the samples that all arms share.")
@click.option("--data-root", metavar="DIR", help="Where the media are, for thumbnails (or EVALKIT_DATA).")
@click.option(
    "--media", default=200, show_default=True, help="Samples of each task with a picture; 0 for none."
)
@click.option(
    "--media-timeout", type=float, default=120.0, show_default=True, help="Seconds to read a medium for it."
)
@label_option
@group_by_option
def command(runs: tuple[Path, ...], **options: Any) -> int:
    """Write one HTML page that opens without a network: table, plots, and every answer side by side."""
    from evalkit.api import report

    with steps_shown():
        written = report(*runs, **with_data_root(options))
    say(f"{written} ({written.stat().st_size / 1e6:.1f} MB)")
    return 0
