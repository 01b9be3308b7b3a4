"""``evalkit diagnose``: why a variant does what it does."""

from __future__ import annotations

import importlib

import click

from evalkit.cli.completion import with_completion
from evalkit.cli.help import HelpContext, with_help
from evalkit.core.errors import did_you_mean

_COMMANDS = {
    "ropes": "Compare variants without a model: positions, spectrum, text prior, decay.",
    "attention": "Measure where models look while they answer: visual tokens, sinks, distances, fading.",
    "generation": "Find loops, truncation, drift and empty answers in finished runs.",
}


class DiagnoseGroup(click.Group):
    """A group that imports ``evalkit.cli.diagnose_<name>`` when it is needed."""

    context_class = HelpContext

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, from what needs least to what needs most."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module; it calls its click command ``command``."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"evalkit.cli.diagnose_{cmd_name}").command
        return with_completion(with_help(command))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Add a did-you-mean to click's own error."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(error.message + did_you_mean(args[0], _COMMANDS), ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group("diagnose", cls=DiagnoseGroup)
def command() -> None:
    """Find out why a variant does what it does: its positions, its attention, its answers."""
