"""``evalkit ropes``: which RoPE variants there are, and whether they equal what official code computes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.cli.checkout import require_tools
from evalkit.cli.figures import write_figure
from evalkit.cli.layout import columns, fields, show
from evalkit.cli.options import json_option, ropes_dir_option
from evalkit.config.run_spec import parse_rope_option, rope_files
from evalkit.core.console import say
from evalkit.core.errors import EnvironmentProblem, ExitCode, UsageError, did_you_mean
from evalkit.core.strict_json import to_json
from evalkit.rope.ablations import ABLATIONS
from evalkit.rope.grammar import write_value
from evalkit.rope.outside import RopeFile, rope_catalog
from evalkit.rope.positions import PositionDesign
from evalkit.rope.serving import unservable
from evalkit.rope.variant import RopeVariant

if TYPE_CHECKING:
    from tools.golden import GoldenResult


@click.group("ropes", invoke_without_command=True)
@ropes_dir_option
@json_option
@click.pass_context
def command(ctx: click.Context, ropes_dirs: tuple[str, ...], as_json: bool) -> None:
    """List RoPE variants, or show one (`evalkit ropes show NAME`).

    A variant is written NAME or NAME(parameter=value,...), or composed of parts:
    position=diagonal,frequency=interleave(24,20,20),scaling=yarn(8).
    """
    ctx.obj = ropes_dirs
    if ctx.invoked_subcommand:
        return
    files = rope_files(ropes_dirs)
    found = rope_catalog(files)
    if as_json:
        say(to_json({name: _described(variant, files) for name, variant in found.variants.items()}))
        return
    show(columns((name, variant.summary) for name, variant in found.variants.items()))
    say(f"\nparts   position: {', '.join(found.positions)}")
    say(f"        frequency: {', '.join(found.frequencies)}")
    say(f"        scaling: {', '.join(found.scalings)} (joined by +)")
    say(f"groups  {', '.join(ABLATIONS)}: the paper's ablations (`evalkit ropes group table4`)")


@command.command("show")
@click.argument("name")
@ropes_dir_option
@json_option
@click.pass_context
def show_command(ctx: click.Context, name: str, ropes_dirs: tuple[str, ...], as_json: bool) -> None:
    """Explain a variant: its parts, parameters, paper, positions and channel map."""
    from evalkit.rope.text_plot import channels_text, positions_text

    files = _files(ctx, ropes_dirs)
    variant = parse_rope_option(name, files)
    found = _described(variant, files)
    if as_json:
        say(to_json(found))
        return
    show(fields(str(variant), {key: value for key, value in found.items() if value}))
    say("\npositions (. text, I image of 2 x 3, V video of two frames of 2 x 2)")
    say(_indented(positions_text(variant)))
    say("\npairs of a head of 128 channels, from the highest frequency to the lowest")
    say(_indented(channels_text(variant)))


@command.command("group")
@click.argument("name")
@json_option
def group(name: str, as_json: bool) -> None:
    """Show the rows of one of the paper's ablations; `--rope table4` runs them all."""
    if name not in ABLATIONS:
        raise UsageError(
            f"group `{name}`",
            f"known: {', '.join(ABLATIONS)}.{did_you_mean(name, ABLATIONS)}",
            "see `evalkit ropes`",
        )
    rows = ABLATIONS[name]
    if as_json:
        say(to_json(dict(rows)))
    else:
        show(columns(rows.items()))


@command.command("check")
@click.argument("folder", type=click.Path(path_type=Path))
@ropes_dir_option
@json_option
@click.pass_context
def check(ctx: click.Context, folder: Path, ropes_dirs: tuple[str, ...], as_json: bool) -> None:
    """Compare positions, deltas, cos and sin with the output of official code in FOLDER.

    Exits with 1 on any mismatch. `default`: reproduced as it is; `compat`: with the named option;
    `official failure`: the official code raised or cut its positions, and ours are right.
    """
    require_tools("evalkit ropes check", "golden")
    from tools.golden.check import NoCases, check_folder

    if not folder.is_dir():
        raise EnvironmentProblem(
            f"`{folder}` is no folder", "golden data is a folder of cases", "check the path"
        )
    catalog = rope_catalog(_files(ctx, ropes_dirs))
    try:
        verdicts = list(check_folder(folder, catalog))
    except NoCases as error:
        raise UsageError(
            "golden data can't be read", str(error), "see docs/ropes.md for the format"
        ) from None
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if as_json:
        rows = [vars(verdict) for verdict in verdicts]
        say(to_json({"passed": not failed, "results": rows}))
    else:
        _show_verdicts(verdicts)
    ctx.exit(int(ExitCode.CHECK_FAILED if failed else ExitCode.OK))


@command.command("plot")
@click.argument("names", nargs=-1)
@click.option("--output", type=click.Path(path_type=Path), default=Path("docs/ropes.png"), show_default=True)
@ropes_dir_option
@click.pass_context
def plot(ctx: click.Context, names: tuple[str, ...], output: Path, ropes_dirs: tuple[str, ...]) -> None:
    """Draw positions and channel maps of variants (all of them by default) into an SVG or PNG file."""
    files = _files(ctx, ropes_dirs)
    known = rope_catalog(files).variants.values()
    variants = [parse_rope_option(name, files) for name in names] or list(known)
    write_figure("evalkit.rope.plot", variants, output)
    say(f"wrote {output}")


def _files(ctx: click.Context, ropes_dirs: tuple[str, ...]) -> tuple[RopeFile, ...]:
    """Of the folders that were given before the subcommand's name and after it."""
    return rope_files((*(ctx.obj or ()), *ropes_dirs))


def _show_verdicts(verdicts: list[GoldenResult]) -> None:
    rows = []
    for each in verdicts:
        verdict = each.mode if each.passed else "MISMATCH"
        note = f" ({each.note})" if each.note else ""
        rows.append(
            (each.case, each.key, each.variant, each.compared, f"{each.difference:.2g}", verdict + note)
        )
    failed = sum(not each.passed for each in verdicts)
    modes = {mode: sum(each.mode == mode and each.passed for each in verdicts) for mode in _MODES}
    counted = ", ".join(f"{count} {mode}" for mode, count in modes.items() if count)
    summary = (
        f"{failed} of {len(verdicts)} results differ" if failed else f"all {len(verdicts)} results agree"
    )
    show(columns(rows, ("case", "official result", "ours", "compared", "largest difference", "verdict")))
    say(f"\n{summary}: {counted}")


_MODES = ("default", "compat", "official failure")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


_LAYERS = 4  # for what differs between layers


def _described(variant: RopeVariant, files: tuple[RopeFile, ...]) -> dict[str, str]:
    """What there is to say of a variant, by heading."""
    outside = rope_catalog(files).sources(variant)
    refused = unservable(variant, _LAYERS)
    axes = variant.position.axes
    parameters = {
        key: "the model's" if value is None else write_value(value)
        for key, value in variant.parameters.items()
    }
    return {
        "summary": variant.summary,
        **variant.written_parts(),
        "positions": _first_paragraph(variant.position),
        "pairs": _first_paragraph(variant.frequency),
        "parameters": ", ".join(f"{key}={value}" for key, value in parameters.items()) or "-",
        "text prior": "kept: text alone is rotated as by the untouched model"
        if variant.keeps_text_prior
        else "changed: text alone is rotated differently from the untouched model",
        "vLLM": "runs it (`evalkit run --engine vllm`)" if refused is None else f"can't run it: {refused}",
        "paper": variant.paper,
        # Of those from outside, and where it is not the usual three.
        **({"axes": ", ".join(axes)} if axes != PositionDesign.axes else {}),
        **({"from": ", ".join(outside)} if outside else {}),
    }


def _first_paragraph(part: object) -> str:
    text = (inspect.getdoc(type(part)) or "").partition("\n\n")[0].replace("``", "")
    return " ".join(text.split())
