"""``evalkit export``: a run in another program's format."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.cli.options import json_option
from evalkit.core.console import say
from evalkit.core.strict_json import to_json


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--to", "form", type=click.Choice(["inspect"]), required=True, help="The format.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.eval|FOLDER",
    help="A file for one arm and task; a folder gets a file for each.",
)
@click.option("--arm", metavar="NAME", help="Only this arm.")
@click.option("--task", metavar="NAME", help="Only this task.")
@json_option
def command(run: Path, form: str, output: Path, arm: str | None, task: str | None, as_json: bool) -> int:
    """Write a stored RUN as logs of Inspect, which its viewer and `inspect_ai` read."""
    from evalkit.api import export_inspect

    written = export_inspect(run, output, arm=arm, task=task)
    say(to_json([str(path) for path in written]) if as_json else "\n".join(map(str, written)))
    return 0
