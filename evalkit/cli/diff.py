"""``evalkit diff``: every setting in which two runs differ."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.cli.layout import columns, show
from evalkit.cli.options import json_option
from evalkit.core.console import say
from evalkit.core.strict_json import to_json


@click.command("diff")
@click.argument("first", type=click.Path(path_type=Path), metavar="RUN_A")
@click.argument("second", type=click.Path(path_type=Path), metavar="RUN_B")
@json_option
def command(first: Path, second: Path, as_json: bool) -> None:
    """Print every setting in which two runs differ: checkpoints, recipe, tasks, sampling, options,
    versions.
    """
    from evalkit.api import diff_runs

    found = diff_runs(first, second)
    if as_json:
        say(to_json([vars(each) for each in found]))
        return
    if not found:
        say("no setting differs")
        return
    rows = [(each.where, each.name, _shown(each.first), _shown(each.second)) for each in found]
    show(columns(rows, ("where", "setting", str(first), str(second))))


def _shown(value: str | None) -> str:
    return "-" if value is None else value.replace("\n", "\\n")
