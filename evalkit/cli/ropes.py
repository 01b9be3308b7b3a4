"""``evalkit ropes``: the RoPE variants that there are."""

from __future__ import annotations

import json
from typing import Any

import click

from evalkit.cli.options import json_option
from evalkit.cli.show import columns, fields
from evalkit.rope.variants import VARIANTS, RopeVariant
from evalkit.spec import read_variant


@click.group("ropes", invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List RoPE variants, or show one (`evalkit ropes show NAME`).

    A variant is written NAME or NAME(parameter=value,...).
    """
    if ctx.invoked_subcommand:
        return
    if as_json:
        click.echo(json.dumps({name: _described(variant) for name, variant in VARIANTS.items()}, indent=2))
        return
    click.echo(columns([(name, variant.summary) for name, variant in VARIANTS.items()]))


@command.command("show")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a variant's parts and parameters; NAME may carry parameters."""
    variant = read_variant(name)
    found = _described(variant)
    click.echo(json.dumps(found, indent=2) if as_json else fields(str(variant), found))


def _described(variant: RopeVariant) -> dict[str, Any]:
    parameters = {key: "the model's" if value is None else value for key, value in variant.parameters.items()}
    return {
        "summary": variant.summary,
        "positions": type(variant.position).__name__,
        "frequencies": type(variant.frequency).__name__,
        "keeps text prior": "yes" if variant.keeps_text_prior else "no",
        "parameters": ", ".join(f"{key}={value}" for key, value in parameters.items()) or "-",
    }
