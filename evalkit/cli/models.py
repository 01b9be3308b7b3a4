"""``evalkit models``: the model families that there are, and what a checkpoint folder is read as."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from evalkit.cli.layout import columns, fields, show
from evalkit.cli.options import json_option
from evalkit.core.console import say
from evalkit.core.errors import ExitCode, UsageError, did_you_mean
from evalkit.core.strict_json import to_json
from evalkit.models import FAMILIES


@click.group("models", invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List model families, or show one (`evalkit models show NAME`)."""
    if ctx.invoked_subcommand:
        return
    if as_json:
        say(to_json({name: asdict(family) for name, family in FAMILIES.items()}))
        return
    show(columns((name, family.summary) for name, family in FAMILIES.items()))


@command.command("show")
@click.argument("name")
@json_option
def show_command(name: str, as_json: bool) -> None:
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
    if as_json:
        say(to_json(asdict(family)))
    else:
        show(fields(name, found))


@command.command("check")
@click.argument("name", metavar="FOLDER")
@click.option("--rope", default="auto", show_default=True, help="Variant; auto: what the checkpoint says.")
@click.option("--processor", metavar="BASE", help="As for `evalkit run`.")
@click.option("--max-frames", type=click.IntRange(1), help="Frames of a video, as for `evalkit run`.")
@click.option("--visual-tokens", type=click.IntRange(1), help="Visual tokens of a prompt, as for `run`.")
@json_option
@click.pass_context
def check(ctx: click.Context, /, name: str, rope: str, as_json: bool, **where: Any) -> None:
    """Say what a checkpoint is read as, and compare it with transformers.

    FOLDER is whatever `--model` takes. Prompts, pixels and positions of an image and of a video are compared
    with `AutoProcessor`'s and with the untouched model's; weights are not read. Run this first. The exit code
    is 1 if something differs.
    """
    from evalkit.models.base import LoadConfig
    from evalkit.models.check import check_checkpoint

    found = check_checkpoint(name, rope, LoadConfig(**where))
    if as_json:
        say(to_json(asdict(found) | {"passed": found.passed}))
    else:
        prompts = {f"prompt of {kind}": prompt for kind, prompt in found.prompts.items()}
        show(fields(name, {**found.facts, **prompts}))
        words = {"equal": "equal", "known": "differs as it should", "different": "DIFFERS"}
        rows = [(each.what, words[each.outcome], each.detail) for each in found.findings]
        say("\ncompared with transformers")
        show(columns(rows))
    ctx.exit(int(ExitCode.OK if found.passed else ExitCode.CHECK_FAILED))
