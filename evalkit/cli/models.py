"""``evalkit models``: the model families that there are."""

from __future__ import annotations

from dataclasses import asdict

import click

from evalkit.cli.options import json_option
from evalkit.cli.show import columns, fields
from evalkit.errors import UsageError, did_you_mean
from evalkit.models import FAMILIES
from evalkit.plain import to_json


@click.group("models", invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List model families, or show one (`evalkit models show NAME`)."""
    if ctx.invoked_subcommand:
        return
    if as_json:
        click.echo(to_json({name: asdict(family) for name, family in FAMILIES.items()}))
        return
    click.echo(columns([(name, family.summary) for name, family in FAMILIES.items()]))


@command.command("show")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a family's native variant, box convention and names that `--model` takes."""
    if name not in FAMILIES:
        raise UsageError(
            f"model family `{name}`",
            f"known: {', '.join(FAMILIES)}.{did_you_mean(name, FAMILIES)}",
            "see `evalkit models`",
        )
    family = FAMILIES[name]
    found = {
        "summary": family.summary,
        "native RoPE": family.native_rope,
        "boxes": family.box_space,
        "--model": ", ".join(family.examples),
    }
    click.echo(to_json(asdict(family)) if as_json else fields(name, found))
