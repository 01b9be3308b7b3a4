"""What ``evalkit advise`` says to "MHRoPE or MRoPE-I?"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.cli.layout import columns, show
from evalkit.cli.options import Command
from evalkit.core.console import say

if TYPE_CHECKING:
    from evalkit.diagnose.choice import Choice


def choice_options(command: Command) -> Command:
    """What the answer takes into account beside the runs."""
    for add in (
        click.option(
            "--context", type=click.IntRange(1), metavar="TOKENS", help="The context that you need."
        ),
        click.option(
            "--kv-heads",
            type=click.IntRange(1),
            metavar="N",
            help="Key-value heads of your model; by default those of the runs' checkpoints.",
        ),
        click.option(
            "--diagnostics",
            multiple=True,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="What `evalkit diagnose ... -o FILE` wrote; may be repeated.",
        ),
    ):
        command = add(command)
    return command


def show_choice(found: Choice) -> None:
    """Print the answer, the evidence, and what is missing."""
    sure = "sure" if found.sure else "not sure"
    say(f"\nMHRoPE or MRoPE-I?  {found.answer}, {sure}: {found.why}")
    show(columns([(each.basis, each.favours, each.text) for each in found.evidence], ("evidence", "for", "")))
    if found.missing:
        say(
            "\n".join(
                (
                    "",
                    "what would have to be measured or said to be surer:",
                    *(f"- {each}" for each in found.missing),
                )
            )
        )
