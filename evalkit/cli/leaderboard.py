"""``evalkit leaderboard``: one CSV row per model, variant and protocol."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.cli.options import label_option
from evalkit.cli.waiting import steps_shown
from evalkit.core.console import say
from evalkit.core.errors import ExitCode


class _UpdateByDefault(click.Group):
    """``leaderboard RUN...`` means ``leaderboard update RUN...``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command's name before what isn't one."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["update", *args]
        return super().parse_args(ctx, args)


@click.group("leaderboard", cls=_UpdateByDefault)
def command() -> None:
    """Gather runs in a CSV file (`leaderboard RUN... --csv FILE`), or check such a file against them."""


@command.command("update")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--csv", "target", required=True, type=click.Path(path_type=Path), help="File to write or update."
)
@click.option("--html", "page", type=click.Path(path_type=Path), help="Also write it all as a web page.")
@label_option
def update_command(runs: tuple[Path, ...], target: Path, page: Path | None, labels: dict[str, str]) -> int:
    """Write the runs' arms into a leaderboard CSV; rows that are there already are updated."""
    from evalkit.api import leaderboard

    with steps_shown():
        rows = leaderboard(runs, target, page, labels)
    say(f"{target}: {rows} rows")
    return ExitCode.OK


@command.command("check")
@click.argument("target", type=click.Path(path_type=Path), metavar="FILE")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
def check_command(target: Path, runs: tuple[Path, ...]) -> int:
    """Score RUN... anew and refuse what FILE says otherwise: exit code 1."""
    from evalkit.api import check_leaderboard

    problems = check_leaderboard(target, runs)
    for problem in problems:
        say(f"{target}: {problem}")
    if problems:
        return ExitCode.CHECK_FAILED
    say(f"{target}: every row is what its runs say")
    return ExitCode.OK
